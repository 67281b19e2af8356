"""What can be said of a percentile, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Of an objective. `INVALID`: the run cannot be believed, and no percentile of it is told."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNDECIDED = "undecided"
    INVALID = "invalid"


@dataclass(frozen=True)
class Interval:
    """A value with the interval that holds the true one at the stated confidence."""

    value: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Judgement:
    """A percentile against its bound, in microseconds.

    `requests` were counted, `over` of them above the bound; `worth` is how many independent ones they are worth
    (neighbours in a queue are not independent). `by_binomial` is what MLPerf's rule alone says, `needed` the requests
    that it needs at least with so many over.
    """

    verdict: Verdict
    percentile: float
    bound_us: float
    interval: Interval
    requests: int
    over: int
    worth: float
    by_binomial: Verdict
    needed: int
