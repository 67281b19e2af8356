"""What the workers of one run have told its coordinator."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadtest.locust_driver.messages import DONE, FAILED, READY, SAMPLES, TIME
from loadtest.run.problem import refused
from loadtest.sender.orders import SenderReport

if TYPE_CHECKING:
    from generator.problems import Problem


@dataclass(frozen=True)
class Clock:
    """How far a worker's clock is ahead of this one's, and how far off that may be, in nanoseconds."""

    ahead_ns: int
    unsure_ns: int


def clock_of(sent_ns: int, there_ns: int, received_ns: int) -> Clock:
    """Of one question and its answer: it was read somewhere between the two, so half of the way is in doubt."""
    half_ns = max(received_ns - sent_ns, 0) // 2
    return Clock(there_ns - sent_ns - half_ns, half_ns)


class Collected:
    """Of the run named `run`; samples go into `folder`, which is there, a file for each sender of each worker.

    `waiting` are the workers that have not told yet what is waited for; `failed` says why one cannot go on.
    """

    def __init__(self, run: str, folder: Path, workers: int) -> None:
        self.run, self._folder = run, folder
        self.all = set(range(workers))
        self.waiting = set(self.all)
        self.files: dict[tuple[int, int], Path] = {}
        self.reports: dict[int, list[SenderReport]] = {}
        self.failed: dict[int, list[Problem]] = {}
        self.clocks: dict[int, Clock] = {}

    def take(self, kind: str, data: Mapping[str, Any]) -> bool:
        """One message; whether it is of this run. Raises OSError when samples cannot be written."""
        if data["run"] != self.run:
            return False
        number: int = data["number"]
        if kind == SAMPLES:
            if number not in self.failed:  # what follows a piece that could not be written would be out of step
                self._samples((number, data["sender"]), data["data"])
            return True
        if kind == TIME:
            self._time(number, clock_of(data["sent_ns"], data["unix_ns"], time.time_ns()))
        elif kind == DONE:
            self.reports[number] = [SenderReport(**report) for report in data["reports"]]
        elif kind == FAILED:
            self.failed[number] = [one for told in data["problems"] for one in refused(*told).problems]
        elif kind != READY:
            raise ValueError(f"`{kind}` is no message of a worker")
        self.waiting.discard(number)
        return True

    def wait_again(self) -> None:
        """For all that have neither ended nor failed."""
        self.waiting = self.all - self.reports.keys() - self.failed.keys()

    def _samples(self, place: tuple[int, int], data: bytes) -> None:
        first = place not in self.files
        path = self.files.setdefault(place, self._folder / f"worker-{place[0]}-{place[1]}.bin")
        with path.open("wb" if first else "ab") as file:
            file.write(data)

    def _time(self, number: int, found: Clock) -> None:
        """Of several answers the one that took least says most."""
        if number not in self.clocks or found.unsure_ns < self.clocks[number].unsure_ns:
            self.clocks[number] = found
