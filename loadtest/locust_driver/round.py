"""One run through Locust: every worker gets its part, and what they sent becomes one run."""

from __future__ import annotations

import logging
import shlex
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gevent.event import Event

from generator.problems import ProblemsError
from loadtest.locust_driver import options
from loadtest.locust_driver.apart import apart
from loadtest.locust_driver.collected import Collected
from loadtest.locust_driver.messages import CLOCK, GO, PREPARE, STOP
from loadtest.locust_driver.worker import hash_of
from loadtest.run import preflight
from loadtest.run.attach import attach
from loadtest.run.interrupts import INTERRUPTED
from loadtest.run.measure import schedule_of, segments_of
from loadtest.run.prepare import Prepared, prepare, wanted_of
from loadtest.run.problem import refused
from loadtest.run.room import Room
from loadtest.run.sending import MARGIN_S
from loadtest.run.session import Session
from loadtest.run.writing import unwritable

if TYPE_CHECKING:
    from loadtest.results.run import Run
    from loadtest.run.serving import Serving
    from loadtest.traffic.payloads import Payloads
    from loadtest.traffic.schedule import Schedule

READY_S, START_IN_S = 120.0, 1.0
STOP_S = 20.0
CLOCK_ROUNDS = 5
CLOCK_BOUND_MS = 5.0  # a worker that may start this much too early or too late is told of
_log = logging.getLogger("tritonkit")


class Round:
    """A run from what was asked to run.json. `told` takes its workers' messages, `stop` ends it early."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._changed, self._stop = Event(), Event()
        self._collected: Collected | None = None
        self._workers: list[str | None] = []
        self._lost: set[int] = set()
        self._late: set[int] = set()
        self._notes: list[str] = []
        self.folder: Path | None = None

    def stop(self) -> None:
        """What the workers have is collected."""
        self._stop.set()
        self._changed.set()

    def told(self, kind: str, data: Mapping[str, Any]) -> None:
        """A worker's message; that of another run is let go."""
        if self._collected is None:
            return
        try:
            self._collected.take(kind, data)
        except OSError as error:
            self._collected.failed[data["number"]] = list(unwritable(self.folder or Path(), error).problems)
        self._changed.set()

    def measured(self) -> Run:
        """Raises ProblemsError with what a user can mend, before anything was sent; later what there is is kept."""
        told = options.read(self._environment.parsed_options)
        told["command"] = told["command"] or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        prepared, schedule = apart(lambda: _prepared(told))
        where = wanted_of(told).where
        serving = attach(prepared.plans, prepared.project.root, where.url or "", grpc=where.grpc_url,
                         target=where.target, allowed=where.allowed)  # fmt: skip
        about = _about(serving, prepared.payloads)
        self.folder = prepared.folder
        session = Session(prepared.asked, serving, prepared.payloads, prepared.folder, about)
        session.tidy()  # what a run before left in the same folder is none of this one's
        segment = prepared.folder / "segment-0"
        segment.mkdir(parents=True)
        with Room(prepared.folder) as room:
            room.take(len(schedule))
            session.begin()
            self._workers = self._connected()
            self._collected = Collected(uuid.uuid4().hex, segment, len(self._workers))
            self._sent(self._collected, told, prepared, schedule)
            room.give_back()
            return self._run_of(self._collected, session, schedule)

    def _run_of(self, collected: Collected, session: Session, schedule: Schedule) -> Run:
        """Of what was collected. Raises ProblemsError when a worker failed and the others have nothing."""
        failed = [problem for number in sorted(collected.failed) for problem in collected.failed[number]]
        if failed and not collected.files:
            raise ProblemsError(failed)
        reports = [report for number in sorted(collected.reports) for report in collected.reports[number]]
        session.warnings += self._notes
        session.add(schedule, [collected.files[place] for place in sorted(collected.files)], reports, lead_us=0)
        stopped = INTERRUPTED if self._stop.is_set() else next((r.stopped for r in reports if r.stopped), None)
        for numbers, what in ((self._late, "did not end in time"), (collected.failed.keys(), "failed"),
                              (self._lost, "went away")):  # fmt: skip
            if numbers:
                stopped = f"worker {', '.join(map(str, sorted(numbers)))} {what}"
                _log.error("TK879 %s; what the others have sent is kept, marked as stopped", stopped)
        for problem in failed:
            _log.error("%s %s: %s (%s)", problem.code, problem.place, problem.message, problem.hint)
        run: Run = apart(lambda: session.result(stopped=stopped))
        session.tidy()
        return run

    def _sent(self, collected: Collected, told: Mapping[str, Any], prepared: Prepared, schedule: Schedule) -> None:
        """Has the workers send it. Raises ProblemsError when one cannot begin."""
        workers, digest = self._workers, hash_of(prepared.payloads)
        _log.info("%d workers get %s requests each", len(workers), f"{len(schedule) // len(workers):,}")
        for number, client in enumerate(workers):
            self._tell(client, PREPARE, number=number, of=len(workers), options=dict(told), payloads_sha256=digest)
        self._wait_until_told(collected, "get ready")
        self._compare_clocks(collected)
        collected.wait_again()
        self._environment.runner.stats.clear_all()  # Locust's rates count from its own start, long before the load's
        unix_ns = time.time_ns() + round(START_IN_S * 1e9)
        for number, client in enumerate(workers):
            clock = collected.clocks.get(number)  # none of one that is gone, or when it is stopped already
            self._tell(client, GO, unix_ns=unix_ns + (clock.ahead_ns if clock else 0))
        deadline_s = prepared.asked.deadline_us / 1e6
        self._wait_for_all(collected, schedule.duration_s + 2 * deadline_s + MARGIN_S)
        if collected.waiting:
            self._late = set(collected.waiting)
            self._stop.set()
            self._wait_for_all(collected, STOP_S)  # for what they have

    def _compare_clocks(self, collected: Collected) -> None:
        """Each worker starts by its own clock, so it is told the instant by that."""
        for _ in range(CLOCK_ROUNDS):
            collected.wait_again()
            for client in self._workers:
                self._tell(client, CLOCK, sent_ns=time.time_ns())
            self._wait_until_told(collected, "tell its time")
        for number, clock in sorted(collected.clocks.items()):
            ahead_ms, unsure_ms = clock.ahead_ns / 1e6, clock.unsure_ns / 1e6
            if abs(ahead_ms) > CLOCK_BOUND_MS:
                _log.info("the clock of worker %d is %+.1f ms off; it starts by its own", number, ahead_ms)
            if unsure_ms > CLOCK_BOUND_MS:
                note = f"worker {number} may have started {unsure_ms:.1f} ms before or after the others: its answers "
                self._notes.append(f"{note}to the coordinator take {2 * unsure_ms:.1f} ms")

    def _connected(self) -> list[str | None]:
        """Who takes part: every worker that is connected, or this process itself."""
        clients = getattr(self._environment.runner, "clients", None)
        return [None] if clients is None else [client.id for client in clients.all if client not in clients.missing]

    def _give_up_the_lost(self, collected: Collected) -> None:
        """A worker that is gone or has failed ends the run: its share of the load is missing."""
        there = self._connected()
        self._lost |= {number for number in collected.waiting if self._workers[number] not in there}
        collected.waiting -= self._lost
        if self._lost or collected.failed:
            self._stop.set()

    def _wait_until_told(self, collected: Collected, what: str) -> None:
        """Before anything is sent. Raises ProblemsError when a worker cannot, or does not."""
        self._wait_for_all(collected, READY_S, until_failed=True)
        problems = [problem for number in sorted(collected.failed) for problem in collected.failed[number]]
        if collected.waiting and not problems:
            numbers = ", ".join(map(str, sorted(collected.waiting)))
            problems += refused("TK879", f"worker {numbers}", f"it did not {what} within {READY_S:.0f} s",
                                "look at what the worker printed").problems  # fmt: skip
        if problems:
            self._tell_all_to_stop()
            raise ProblemsError(problems)

    def _wait_for_all(self, collected: Collected, timeout_s: float, *, until_failed: bool = False) -> None:
        """Until no worker is waited for, or the time is over. One that is stopped waits for what they have."""
        deadline, told = time.monotonic() + timeout_s, False
        while collected.waiting and not (until_failed and collected.failed) and time.monotonic() < deadline:
            self._changed.wait(0.1)
            self._changed.clear()
            self._give_up_the_lost(collected)
            if self._stop.is_set() and not told:
                told, deadline = True, time.monotonic() + STOP_S
                self._tell_all_to_stop()

    def _tell_all_to_stop(self) -> None:
        for client in self._connected():
            with suppress(Exception):  # one that is gone has nothing to tell
                self._tell(client, STOP)

    def _tell(self, client: str | None, kind: str, **what: Any) -> None:
        run = self._collected.run if self._collected else ""
        self._environment.runner.send_message(kind, {**what, "run": run}, client)


def _about(serving: Serving, payloads: Mapping[str, Payloads]) -> dict[str, Any]:
    """What the server says of itself. Raises ProblemsError; Locust starts none, as `load run` does without --url."""
    try:
        return preflight.check(serving, payloads, _log.info)
    except ProblemsError as error:
        hint = "start one with `tritonkit serve`, or name another with --url"
        problems = [replace(one, hint=hint) if "--url" in one.hint else one for one in error.problems]
        raise ProblemsError(problems) from error


def _prepared(told: Mapping[str, Any]) -> tuple[Prepared, Schedule]:
    """Takes seconds."""
    prepared = prepare(wanted_of({**told, "driver": "locust"}), _log.info)
    asked = prepared.asked
    return prepared, schedule_of(asked, prepared.payloads, next(segments_of(asked, extend=False)))
