"""What a sweep measures on: brought to a setting, then sent load; and what it reads from a turn's folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from loadtest.results.run import SAMPLES_FILE, Run, read_run
from loadtest.samples.file import read_samples
from loadtest.samples.record import Outcome, counted_us, sent_of
from loadtest.sweep.evidence import Turn
from loadtest.sweep.setting import Setting

if TYPE_CHECKING:
    from loadtest.samples.record import Samples

Progress = Callable[[str], None]


class Bench(Protocol):
    """A server that can be brought to settings, and load for it."""

    def group(self, setting: Setting) -> str:
        """Settings of one group share a start of the server; another one needs a restart."""

    def apply(self, setting: Setting, progress: Progress) -> int:
        """Brings the server to it and asserts that it is there: the number of the server's start, from 1.

        Raises ProblemsError (TK886) when the server serves something else, UserError when it has gone.
        """

    def measure(self, rate_rps: float, seconds: float, seed: int, folder: Path, progress: Progress) -> Run:
        """Sends load for so long; `folder` has run.json and samples.bin then. Raises ProblemsError."""


@dataclass(frozen=True)
class Asked:
    """One turn, as the journal knows it. `seed` is its round's: all turns of it have the same arrivals at a rate.

    `base` is the bench's group of the setting: what the server had to be started with for it.
    """

    number: int
    round: int
    order: int
    session: int
    start: int
    setting: Setting
    rate_rps: float
    why: str
    seed: int
    base: str


@dataclass(frozen=True)
class Seen:
    """A turn that was measured: its run, and the samples that count (after the settle period and the warm-up).

    `before` is what was sent before these.
    """

    asked: Asked
    run: Run
    samples: Samples
    deadline_us: int
    before: Samples

    @property
    def restless(self) -> str:
        """Why `load run` would say that it did not settle; empty where it did."""
        return self.run.warm_up.found_by if self.run.warm_up.too_long else ""

    @property
    def valid(self) -> bool:
        """Whether it can be believed and anything counts."""
        return self.run.validity.valid and len(self.samples) > 0

    @property
    def turn(self) -> Turn:
        """What comparisons are made of."""
        latencies = counted_us(self.samples, self.deadline_us)
        due = self.samples["due_us"][self.samples["outcome"] != Outcome.CANCELLED].astype(np.int64)
        block = (self.asked.round, self.asked.session)
        return Turn(self.asked.setting, block, due, latencies, self.valid)


def read_seen(asked: Asked, folder: Path, settle_s: float) -> Seen:
    """The turn in `folder`. Raises OSError, ValueError or UserError when it is not whole."""
    run = read_run(folder)
    _, samples = read_samples(folder / SAMPLES_FILE)
    first = max(run.warm_up.requests, int(np.searchsorted(samples["due_us"], settle_s * 1e6)))
    before, kept = (sent_of(np.array(part)) for part in (samples[:first], samples[first:]))
    return Seen(asked, run, kept, round(run.traffic.deadline_ms * 1000), before)
