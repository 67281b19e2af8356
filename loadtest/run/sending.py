"""One segment of a run: its senders started, followed, and ended, whatever happens."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from generator.problems import ProblemsError
from loadtest.run.interrupts import INTERRUPTED
from loadtest.run.plain_http import ask
from loadtest.sender.orders import Orders
from loadtest.sender.process import Sending, start_together, stop_together

if TYPE_CHECKING:
    from loadtest.run.asked import Asked
    from loadtest.run.interrupts import Noted
    from loadtest.run.serving import Serving
    from loadtest.sender.orders import SenderReport
    from loadtest.traffic.payloads import Payloads
    from loadtest.traffic.schedule import Schedule

LOOK_S = 0.1
ALIVE_EVERY_S, GONE_FOR_S = 1.0, 5.0  # a server that was away for longer is not waited for
SILENT_FOR_S = 30.0  # nor one that says nothing at all for longer: until then it may be slow
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}
MARGIN_S = 30.0
LEAST_CONNECTIONS, MOST_CONNECTIONS = 64, 1024
GONE = "the server went away"


@dataclass(frozen=True)
class Sent:
    """What the senders of a segment left. `stopped` says why not everything was sent, if so."""

    paths: tuple[Path, ...]
    reports: tuple[SenderReport, ...]
    stopped: str | None = None


def orders_of(asked: Asked, serving: Serving) -> Orders:
    """What every sender is told."""
    address = serving.grpc_address if asked.protocol == "grpc" else serving.http_address
    return Orders(
        asked.protocol, asked.client, address, asked.pipelines, asked.deadline_us, connections_of(asked),
        asked.priority, asked.server_timeout_us, asked.cancel, asked.shared_memory, asked.streaming,
        dict(serving.headers) if asked.shared_memory else {}, asked.seed,
    )  # fmt: skip


def connections_of(asked: Asked) -> int:
    """As many as there can be requests in flight: what comes within a deadline, of each sender."""
    if asked.connections is not None:
        return asked.connections
    if asked.protocol == "grpc":
        return 4
    in_flight = (asked.rate_rps or 0.0) / asked.senders * asked.deadline_us / 1e6
    return round(min(max(in_flight * 1.2, LEAST_CONNECTIONS), MOST_CONNECTIONS))


class Alive:
    """Whether the server is still there: its process, or where that is not ours its health over HTTP."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._looked = self._seen = time.monotonic()

    def is_gone(self) -> bool:
        """For good: our own server has ended, or another refuses for GONE_FOR_S or is silent for SILENT_FOR_S."""
        now = time.monotonic()
        if now - self._looked < ALIVE_EVERY_S:
            return False
        self._looked = now
        if self._serving.pids:
            return not _lives(self._serving.pids[0])
        try:
            ask(self._serving.http_address, "/v2/health/live", timeout_s=GONE_FOR_S)
        except TimeoutError:
            return now - self._seen > SILENT_FOR_S
        except OSError as error:
            if isinstance(error, ConnectionError) or error.errno in _UNREACHABLE:
                return now - self._seen > GONE_FOR_S
        except ValueError:  # it answers, if not with yes
            pass
        self._seen = time.monotonic()
        return False


@dataclass(frozen=True)
class Load:
    """What is sent where."""

    asked: Asked
    serving: Serving
    payloads: Mapping[str, Payloads]
    schedule: Schedule


def send(load: Load, folder: Path, tell: Callable[[int, int], None], noted: Noted) -> Sent:
    """Sends a schedule through `asked.senders` processes. `tell(sent, done)` now and then.

    An interrupt, a server that is gone and a sender that has died end all senders; what they have sampled is kept,
    and `stopped` says why. An interrupt while they end kills them. Where all was sent and answered all the same,
    nothing was stopped. Raises ProblemsError with what a sender cannot do, before anything is sent.
    """
    asked, schedule = load.asked, load.schedule
    alive, orders = Alive(load.serving), orders_of(asked, load.serving)
    sendings = [
        Sending(orders, schedule.part(number, asked.senders), load.payloads, folder, number=number)
        for number in range(asked.senders)
    ]
    with ExitStack() as stack:
        stack.callback(stop_together, sendings)
        try:
            with noted.heard():
                start_together(sendings)
                stopped, reports = _followed(sendings, load, alive, tell)
        except KeyboardInterrupt:
            stopped, reports = INTERRUPTED, ()
            if not noted:  # it came before they were noted, and is raised only now
                noted.append(signal.SIGINT)
        before = len(noted)
        stop_together(sendings, lambda: len(noted) > before)
        if stopped:
            reports = _told(sendings)
        if stopped == INTERRUPTED and len(reports) == len(sendings):
            stopped = INTERRUPTED if any(report.stopped for report in reports) else None
        stopped = stopped or next((report.stopped for report in reports if report.stopped), None)
        paths = tuple(sending.samples_path for sending in sendings if sending.samples_path.is_file())
        return Sent(paths, reports, stopped)


def ended(sendings: Sequence[Sending]) -> tuple[SenderReport, ...]:
    """Ends them; the reports of those that could still tell one."""
    stop_together(sendings)
    return _told(sendings)


def _told(sendings: Sequence[Sending]) -> tuple[SenderReport, ...]:
    reports = []
    for sending in sendings:
        with suppress(ProblemsError, TimeoutError):
            reports.append(sending.wait(0))
    return tuple(reports)


def _followed(
    sendings: Sequence[Sending], load: Load, alive: Alive, tell: Callable[[int, int], None]
) -> tuple[str | None, tuple[SenderReport, ...]]:
    """Why not everything was sent, or the reports of all."""
    stopped = _follow(sendings, load, alive, tell)
    if stopped:
        return stopped, ()
    try:
        return None, tuple(sending.wait(MARGIN_S) for sending in sendings)
    except TimeoutError:
        return "it did not end in time", ()
    except ProblemsError as error:
        return error.problems[0].message, ()


def _follow(sendings: Sequence[Sending], load: Load, alive: Alive, tell: Callable[[int, int], None]) -> str | None:
    """Until all are done; what ends the run before, if anything does."""
    longest_s = load.schedule.duration_s + 2 * load.asked.deadline_us / 1e6 + MARGIN_S
    deadline = time.monotonic() + longest_s
    while time.monotonic() < deadline:
        told = [sending.progress() for sending in sendings]
        sent, done = sum(one[0] for one in told), sum(one[1] for one in told)
        tell(sent, done)
        early = next(filter(None, (sending.ended_early() for sending in sendings)), None)
        if early:
            return early
        if done >= len(load.schedule) or not any(sending.running for sending in sendings):
            return None
        if alive.is_gone():
            return GONE
        time.sleep(LOOK_S)
    return None


def _lives(pid: int) -> bool:
    """Whether a process of ours runs; a zombie does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in {"Z", "X"}
