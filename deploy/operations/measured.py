"""What load tests found, as plain numbers: the latency-load curve of each pipeline on one server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from deploy.operations.words import shown

Verdict = Literal["pass", "fail", "undecided", "invalid"]


@dataclass(frozen=True)
class Interval:
    """A value, and where the truth lies at `confidence`; at confidence 0 nothing is known of that."""

    value: float
    low: float
    high: float
    confidence: float

    @classmethod
    def exactly(cls, value: float) -> Interval:
        """A value that came without an interval."""
        return cls(value, value, value, 0.0)

    @property
    def is_known(self) -> bool:
        """Whether it says how far off the value may be."""
        return self.confidence > 0

    def inverse(self, factor: float) -> Interval:
        """`factor` divided by it. Raises ZeroDivisionError."""
        return Interval(factor / self.value, factor / self.high, factor / self.low, self.confidence)


@dataclass(frozen=True)
class Load:
    """One point of a curve: a rate that was asked for, and what came of it.

    `throughput_rps` is of requests that were answered, `waiting` the mean number of requests in the queues of the
    pipeline's models (empty: the server did not tell), `items` what a request brought. `capacity_rps` is the highest
    rate that passes where one was looked for. `source` is the folder of the load test. Of a sweep `settings` are
    what was set at its model `member`, and `of` the same in words. The verdict holds at `confidence`.
    """

    pipeline: str
    rate_rps: float
    throughput_rps: Interval
    verdict: Verdict
    why: str
    source: str
    p99_ms: Interval | None = None
    objective_p99_ms: float | None = None
    promised_rps: float | None = None
    waiting: Mapping[str, float] = field(default_factory=dict)
    items: float = 1.0
    capacity_rps: Interval | None = None
    of: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)
    member: str = ""
    confidence: float = 0.0
    target: str = ""
    spec_sha256: str = ""
    machine: str = ""

    @property
    def waiting_requests(self) -> float | None:
        """In all queues together."""
        return sum(self.waiting.values()) if self.waiting else None

    @property
    def carries_rps(self) -> Interval:
        """What one server is known to carry at its objective."""
        return self.capacity_rps or self.throughput_rps


@dataclass(frozen=True)
class Measured:
    """Every point that was measured, of all pipelines."""

    loads: tuple[Load, ...] = ()

    def of(self, pipeline: str) -> tuple[Load, ...]:
        """The points of one pipeline, by rate."""
        return tuple(sorted((load for load in self.loads if load.pipeline == pipeline), key=lambda one: one.rate_rps))

    def best(self, pipeline: str) -> Load | None:
        """The point at the highest rate that is known to meet the objective; None where there is none."""
        passed = [load for load in self.of(pipeline) if load.verdict == "pass"]
        return max(passed, key=lambda load: load.carries_rps.low, default=None)


def joined(loads: Sequence[Load]) -> Load:
    """Load tests of one pipeline at several rates as one: from the highest that passes to the lowest that fails.

    Without one that passes it is the one that says most about why. Raises ValueError for none at all.
    """
    passed = [load for load in loads if load.verdict == "pass"]
    if not passed:
        return min(loads, key=_says)
    best = max(passed, key=lambda load: load.carries_rps.low)
    low = best.carries_rps.low
    failed = [load for load in loads if load.verdict == "fail" and load.rate_rps > low]
    if best.capacity_rps is not None or not failed:
        return best
    first = min(failed, key=lambda load: load.rate_rps)
    confidence = max(0.0, best.confidence + first.confidence - 1)  # both verdicts have to be right
    return replace(best, capacity_rps=Interval(low, low, first.rate_rps, confidence))


def _says(load: Load) -> int:
    return ("undecided", "fail", "invalid", "pass").index(load.verdict)


def why_not(loads: Iterable[Load]) -> str:
    """Why none of the points meets its objective, as a clause."""
    found = list(loads)
    if not found:
        return "nothing was measured"
    last = min(found, key=_says)
    return f"at {shown(last.rate_rps)} requests/s the verdict is {last.verdict}: {last.why.rstrip('.')}"
