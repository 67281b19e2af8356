"""A Locust worker's part of a run: the same sender processes, whose samples are fed to Locust as they come."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

from generator.problems import ProblemsError, UserError
from loadtest.locust_driver.apart import apart
from loadtest.locust_driver.messages import (
    CLOCK,
    DONE,
    FAILED,
    GO,
    PREPARE,
    READY,
    SAMPLE_BYTES,
    SAMPLES,
    STOP,
    TIME,
)
from loadtest.run.attach import attach
from loadtest.run.measure import schedule_of, segments_of
from loadtest.run.passing import owned_folder
from loadtest.run.prepare import Prepared, prepare, wanted_of
from loadtest.run.problem import refused
from loadtest.run.sending import MARGIN_S, ended, orders_of
from loadtest.samples.file import read_samples
from loadtest.samples.record import Outcome
from loadtest.sender.process import Sending

if TYPE_CHECKING:
    from loadtest.run.asked import Asked
    from loadtest.traffic.payloads import Payloads

LOOK_S = 0.2
GO_WITHIN_S = 120.0


@dataclass
class Part:
    """This worker's part of one run. A greenlet works on it, and looks at no other."""

    told: Mapping[str, Any]
    go: Event = field(default_factory=Event)
    stopped: Event = field(default_factory=Event)
    start_unix_ns: int = 0

    def stop(self) -> None:
        """Ends its senders; their samples are told all the same."""
        self.stopped.set()
        self.go.set()


class Worker:
    """Does what the coordinator of a run asks of this process. One a Locust process that is no coordinator alone."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._part: Part | None = None
        self._running: gevent.Greenlet | None = None
        listeners = {PREPARE: self._prepare, CLOCK: self._time, GO: self._started, STOP: self._stopped}
        for name, listener in listeners.items():
            environment.runner.register_message(name, listener)
        environment.events.test_stop.add_listener(self.stop)
        environment.events.quitting.add_listener(self.stop)

    def stop(self, **_: Any) -> None:
        """Ends the senders of this worker, whatever run they are of."""
        if self._part is not None:
            self._part.stop()

    def _prepare(self, environment: Any, msg: Any) -> None:  # noqa: ARG002  (Locust's)
        """A part that is still worked on ends first: two would take time from each other."""
        self.stop()
        self._part = Part(msg.data)
        self._running = gevent.spawn(self._run, self._part, self._running)

    def _is_mine(self, msg: Any) -> Part | None:
        """The part that a message is about, if it is the one at work."""
        part = self._part
        return part if part is not None and part.told["run"] == msg.data["run"] else None

    def _time(self, environment: Any, msg: Any) -> None:  # noqa: ARG002  (Locust's)
        if part := self._is_mine(msg):
            self._tell(part, TIME, sent_ns=msg.data["sent_ns"], unix_ns=time.time_ns())

    def _started(self, environment: Any, msg: Any) -> None:  # noqa: ARG002  (Locust's)
        if part := self._is_mine(msg):
            part.start_unix_ns = msg.data["unix_ns"]
            # Locust's rates count from its own start, long before the load's.
            self._environment.runner.stats.clear_all()
            part.go.set()

    def _stopped(self, environment: Any, msg: Any) -> None:  # noqa: ARG002  (Locust's)
        if part := self._is_mine(msg):
            part.stop()

    def _run(self, part: Part, before: gevent.Greenlet | None) -> None:
        """Everything from the orders to the last sample; what goes wrong is told, and ends the run."""
        if before is not None:
            before.join()
        try:
            with owned_folder("load") as folder:
                self._send(part, folder)
        except ProblemsError as error:
            self._tell(part, FAILED, problems=[[p.code, p.place.file, p.message, p.hint] for p in error.problems])
        except (UserError, OSError, TimeoutError) as error:
            self._tell(part, FAILED, problems=[["TK879", f"worker {part.told['number']}", str(error), ""]])

    def _send(self, part: Part, folder: Path) -> None:
        told, number, of = part.told, part.told["number"], part.told["of"]
        prepared: Prepared = apart(lambda: _prepared(told["options"]))
        if hash_of(prepared.payloads) != told["payloads_sha256"]:
            raise refused(
                "TK879", f"worker {number}", "its payloads are others than the coordinator's",
                "the workers need the same clone: the same specs and the same data",
            )  # fmt: skip
        wanted, asked = wanted_of(told["options"]), prepared.asked
        where = wanted.where
        serving = attach(prepared.plans, prepared.project.root, where.url or "", grpc=where.grpc_url,
                         target=where.target, allowed=where.allowed)  # fmt: skip
        schedule = schedule_of(asked, prepared.payloads, next(segments_of(asked, extend=False)))
        parts = of * asked.senders
        with ExitStack() as stack:
            sendings = [
                stack.enter_context(
                    Sending(orders_of(asked, serving), schedule.part(number * asked.senders + sender, parts),
                            prepared.payloads, folder, number=sender)
                )
                for sender in range(asked.senders)
            ]  # fmt: skip
            for sending in sendings:
                sending.prepare()
            self._tell(part, READY)
            if not part.go.wait(GO_WITHIN_S):
                raise refused("TK879", f"worker {number}", f"the coordinator did not start within {GO_WITHIN_S:g} s")
            if not part.stopped.is_set():
                instant_ns = time.monotonic_ns() + part.start_unix_ns - time.time_ns()
                for sending in sendings:
                    sending.start_at(instant_ns)
                self._follow(part, sendings, asked)
            stopped = part.stopped.is_set()
            reports = ended(sendings) if stopped else [sending.wait(MARGIN_S) for sending in sendings]
            for sender, sending in enumerate(sendings):
                path = sending.samples_path
                data = path.read_bytes() if path.is_file() else b""
                for at in range(0, len(data), SAMPLE_BYTES):
                    self._tell(part, SAMPLES, sender=sender, data=data[at : at + SAMPLE_BYTES])
                    gevent.sleep(0)
            self._tell(part, DONE, reports=[asdict(report) for report in reports])

    def _follow(self, part: Part, sendings: Sequence[Sending], asked: Asked) -> None:
        """Feeds Locust until all are done, or the run is stopped."""
        fed = [0] * len(sendings)
        going = True
        while going:
            going = any(sending.running for sending in sendings) and not part.stopped.wait(LOOK_S)
            for place, sending in enumerate(sendings):
                fed[place] = self._feed(sending.samples_path, fed[place], asked)

    def _feed(self, path: Path, first: int, asked: Asked) -> int:
        """Fires an event for each sample from the `first` on; how many there are. Latencies as they count."""
        _, samples = read_samples(path)
        fire = self._environment.events.request.fire
        kind, deadline_us = asked.protocol.upper(), asked.deadline_us
        new = samples[first:]
        for latency_us, pipeline, outcome in zip(
            new["latency_us"].tolist(), new["pipeline"].tolist(), new["outcome"].tolist(), strict=True
        ):
            if outcome in {Outcome.CANCELLED, Outcome.UNSENT}:
                continue
            fine = outcome == Outcome.OK
            fire(
                request_type=kind, name=asked.pipelines[pipeline],
                response_time=(latency_us if fine else max(latency_us, deadline_us)) / 1000, response_length=0,
                exception=None if fine else OSError(Outcome(outcome).name.lower()), context={},
            )  # fmt: skip
        return len(samples)

    def _tell(self, part: Part, kind: str, **what: Any) -> None:
        """With the run that it is of, so that none takes it for its own."""
        what |= {"run": part.told["run"], "number": part.told["number"]}
        self._environment.runner.send_message(kind, what)


def hash_of(payloads: Mapping[str, Payloads]) -> str:
    """SHA-256 of every request of every pipeline, as the bytes of gRPC."""
    whole = hashlib.sha256()
    for name, of in payloads.items():
        for request in of.grpc(name):
            whole.update(request)
    return whole.hexdigest()


def _prepared(options: Mapping[str, Any]) -> Prepared:
    return prepare(wanted_of(options), lambda _: None)
