"""Starts a sending process, follows it, and ends it: whatever happens, it is reaped and its shared memory is gone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from generator.problems import ProblemsError
from loadtest.sender.clients.choose import check
from loadtest.sender.codes import mistake
from loadtest.sender.files import (
    LOG,
    REPORT,
    SAMPLES,
    forget_orders,
    report_of,
    write_orders,
    write_requests,
    write_schedule,
)
from loadtest.sender.orders import Orders, SenderReport
from loadtest.sender.regions import Region
from loadtest.sender.requests import requests_of
from loadtest.traffic.schedule import Schedule

if TYPE_CHECKING:
    from loadtest.traffic.payloads import Payloads

READY_S = 60.0
STOP_S = 10.0  # it ends within the grace for what is in flight
STOP_LOOK_S = 0.02
HEAD_START_NS = 20_000_000  # so that the start is still to come when the process hears of it
ROOT = Path(__file__).parents[2]


class Sending:
    """One sending process. `folder` gets a folder of its own for it, `sender-<number>`.

    `start()` waits until it is ready and sends it off, at `start_at_ns` of CLOCK_MONOTONIC if given. Leaving the
    context stops it. Raises ProblemsError: TK860 for orders that do not fit together, TK861 when no server answers,
    TK862 when the process cannot start or dies, TK863 for shared memory.
    """

    def __init__(
        self, orders: Orders, schedule: Schedule, payloads: Mapping[str, Payloads], folder: Path, *,
        number: int = 0, start_at_ns: int | None = None, keep_answers: bool = False,
    ) -> None:  # fmt: skip
        check(orders)
        self.orders, self.folder = orders, folder / f"sender-{number}"
        self.samples_path = self.folder / SAMPLES
        self._schedule, self._payloads, self._start_at_ns = schedule, payloads, start_at_ns
        self._keep_answers = keep_answers
        self._region = Region(orders, number) if orders.shared_memory else None
        self._process: subprocess.Popen[bytes] | None = None
        self._told: dict[str, Any] = {}
        self._changed = threading.Condition()
        self._ended = False
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Sending:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """Of the process, once there is one."""
        return self._process.pid if self._process else None

    def prepare(self) -> None:
        """Starts the process, and waits until it is connected and would only have to send. Raises ProblemsError."""
        if self._process:
            return
        try:
            self._begin()
            self._wait_for(("ready",), READY_S)
        except BaseException:
            self.stop()
            raise
        finally:
            forget_orders(self.folder)

    def _begin(self) -> None:
        """Writes what the process reads, and starts it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # headers may be secrets, and requests are somebody's data
        for name in (SAMPLES, REPORT):
            (self.folder / name).unlink(missing_ok=True)
        write_orders(self.folder, self.orders, keep_answers=self._keep_answers)
        write_schedule(self.folder, self._schedule)
        place = self._region.place if self._region else None
        for index, name in enumerate(self.orders.pipelines):
            write_requests(self.folder, index, requests_of(self.orders, name, self._payloads[name], place))
        if self._region:
            self._region.publish()
        with (self.folder / LOG).open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "loadtest.sender", str(self.folder.resolve())],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def start(self) -> None:
        """Sends it off. Raises ProblemsError, also when `start_at_ns` was over before it was ready."""
        self.prepare()
        now_ns = time.monotonic_ns()
        start_ns = self._start_at_ns or now_ns + HEAD_START_NS
        if start_ns < now_ns:
            self.stop()
            late_ms = (now_ns - start_ns) / 1e6
            message = f"the sender was ready {late_ms:.0f} ms after the instant at which it should have started"
            raise mistake("TK862", "start_at_ns", message, "start later")
        self._say(b"%d\n" % start_ns)

    def start_at(self, instant_ns: int) -> None:
        """Sends it off at this instant of CLOCK_MONOTONIC."""
        self._start_at_ns = instant_ns
        self.start()

    def progress(self) -> tuple[int, int, float]:
        """How many requests are sent and how many done, and the seconds since the start."""
        with self._changed:
            return self._told.get("sent", 0), self._told.get("done", 0), max(0.0, self._told.get("seconds", 0.0))

    @property
    def running(self) -> bool:
        """Whether it still has something to tell."""
        return self._process is not None and not self._ended

    def ended_early(self) -> str | None:
        """Why it will send no more although it has not sent all: it died, or stopped by itself. None if neither."""
        with self._changed:
            if "report" in self._told:
                return report_of(self._told["report"]).stopped
            return self._how_it_died() if self._ended else None

    def wait(self, timeout_s: float) -> SenderReport:
        """Its report, once it is done. Raises TimeoutError, or ProblemsError when it died without one."""
        self._wait_for(("report",), timeout_s)
        return report_of(self._told["report"])

    def ask_to_end(self) -> None:
        """It ends within the grace for what is in flight; nobody waits for that here."""
        if self.lives and self._process:
            self._process.send_signal(signal.SIGTERM)

    @property
    def lives(self) -> bool:
        """Whether there is a process that has not ended."""
        return self._process is not None and self._process.poll() is None

    def stop(self, within_s: float = STOP_S, *, tell_server: bool = True) -> None:
        """Ends it and waits until it has; what was sampled stays in its files. May be called again.

        After `within_s` it is killed. Without `tell_server` its shared memory goes without a word to the server.
        """
        try:
            if self._process:
                self._end(self._process, within_s)
        finally:
            if self._region:
                self._region.remove(tell_server=tell_server)

    def _end(self, process: subprocess.Popen[bytes], within_s: float) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(within_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._reader:
            self._reader.join(STOP_S)
        if process.stdin and not process.stdin.closed:
            process.stdin.close()

    def _say(self, line: bytes) -> None:
        if not self._process or not self._process.stdin:
            raise RuntimeError("it has not been prepared")
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._died() from error

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """In a thread: what the process tells, until it ends."""
        if process.stdout:
            with process.stdout as lines:
                for line in lines:
                    try:
                        told = json.loads(line)
                    except ValueError:  # cut short because nobody read for long
                        continue
                    with self._changed:
                        self._told.update(told)
                        self._changed.notify_all()
        process.wait()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _wait_for(self, names: Sequence[str], timeout_s: float) -> None:
        """Until it has told one of these, or a mistake."""

        def told() -> bool:
            return self._ended or "mistake" in self._told or any(name in self._told for name in names)

        with self._changed:
            if not self._changed.wait_for(told, timeout_s):
                raise TimeoutError(f"the sender did not tell `{names[0]}` within {timeout_s:g} s")
            if any(name in self._told for name in names):
                return
            if "mistake" in self._told:
                raise mistake(*self._told["mistake"])
            raise self._died()

    def _died(self) -> ProblemsError:
        return mistake("TK862", "", self._how_it_died(), f"{self.folder / LOG} has what it printed")

    def _how_it_died(self) -> str:
        log = (self.folder / LOG).read_text(errors="replace").strip().splitlines()
        last = f": {log[-1]}" if log else ""
        status = self._process.poll() if self._process else None
        return f"the sending process ended with status {status} and without a report{last}"


def start_together(sendings: Sequence[Sending]) -> int:
    """Makes all of them ready, and starts them at one instant of CLOCK_MONOTONIC, which it returns."""
    for sending in sendings:
        sending.prepare()
    instant_ns = time.monotonic_ns() + HEAD_START_NS
    for sending in sendings:
        sending.start_at(instant_ns)
    return instant_ns


def stop_together(sendings: Sequence[Sending], at_once: Callable[[], bool] = lambda: False) -> None:
    """Ends all of them at the same time and waits until they have; what was sampled stays in their files.

    They are killed after STOP_S, or when `at_once` says so; a silent server is told of their shared memory for as
    long again, and no more. May be called again.
    """
    for sending in sendings:
        sending.ask_to_end()
    deadline = time.monotonic() + STOP_S
    while any(sending.lives for sending in sendings) and time.monotonic() < deadline and not at_once():
        time.sleep(STOP_LOOK_S)
    for sending in sendings:
        sending.stop(0, tell_server=not at_once() and time.monotonic() < deadline + STOP_S)
