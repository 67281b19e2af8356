"""Whether the percentile of one load test is better or worse than that of another.

The interval of the ratio is made of the intervals of the two, which are not symmetric: Zou and Donner (2008),
"Construction of confidence limits about effect measures: a general approach", Statistics in Medicine 27, on
logarithms.

Runs of the same thing differ by more than their requests tell: another start, other neighbours on the machine. Where
there are three or more runs on both sides, the logarithms of their own percentiles are compared as well, each run one
observation, by Welch (1947), "The generalization of Student's problem when several different population variances are
involved", Biometrika 34: how much runs of a side differ is taken from them alone, and may be another on either side.
The result covers both intervals, so it is never surer than the requests, and never surer than the runs.
How often it holds the true ratio is counted in benchmarks/verdicts.py.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
from scipy.stats import t as student

from loadtest.statistics.dependence import worth
from loadtest.statistics.judgement import Interval
from loadtest.statistics.percentile import check, interval_of

REPLICATES = 3
"""So many runs on either side tell how much runs differ."""
LARGEST = 1e9
"""No ratio is told to be larger than this, or less than one of it."""


class Change(StrEnum):
    """What became of a latency. `SAME`: no difference can be told."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "no difference"


def difference(a_us: Any, b_us: Any, p: float, confidence: float = 0.99) -> Interval:
    """The percentile `p` of `b_us` as a multiple of that of `a_us`, with its interval.

    Either is the latencies [n] of a run in due order, or a list of several runs of the same thing. Its confidence is
    less than asked where a run is too short for an upper end. Raises ValueError for no latency.
    """
    check(p, confidence)
    first, second = runs_of(a_us), runs_of(b_us)
    a, b = _together(first, p, confidence), _together(second, p, confidence)
    if min(a.low, b.low) <= 0:
        raise ValueError("a latency of 0 has no ratio")
    la, va, ha = np.log([a.low, a.value, a.high])
    lb, vb, hb = np.log([b.low, b.value, b.high])
    value = vb - va
    low, high = value - np.hypot(vb - lb, ha - va), value + np.hypot(hb - vb, va - la)
    if min(len(first), len(second)) >= REPLICATES:
        own_a, own_b = ([np.quantile(run, p, method="inverted_cdf") for run in runs] for runs in (first, second))
        by_runs = between(own_a, own_b, confidence)
        low, high = min(low, np.log(by_runs.low)), max(high, np.log(by_runs.high))
    found = np.exp([value, low, high])
    return Interval(float(found[0]), float(found[1]), float(found[2]), min(a.confidence, b.confidence))


def change(ratio: Interval, threshold: float = 0.0) -> Change:
    """What the ratio of two latencies says; it has to be more than `threshold` (0.02 is 2 %) away from 1, surely."""
    if ratio.low > 1 + threshold:
        return Change.WORSE
    return Change.BETTER if ratio.high < 1 / (1 + threshold) else Change.SAME


def runs_of(of: Any) -> list[Any]:
    """The runs of one side: of one, [n], or of a list of several. Raises ValueError where one of them is empty."""
    several = isinstance(of, list | tuple) and len(of) > 0 and np.ndim(of[0]) == 1
    runs = [np.asarray(run) for run in (of if several else [of])]
    if not all(len(run) for run in runs):
        raise ValueError("no latency was observed")
    return runs


def _together(runs: list[Any], p: float, confidence: float) -> Interval:
    return interval_of(np.concatenate(runs), p, confidence, sum(worth(run, p) for run in runs))


def between(a: Any, b: Any, confidence: float = 0.99) -> Interval:
    """The ratio of b to a by one figure of each run, [runs] above 0 on either side, and nothing else.

    Of the geometric means, with Welch's interval. Two runs a side at least; what never differs has no width.
    """
    first, second = np.log(np.asarray(a, np.float64)), np.log(np.asarray(b, np.float64))
    share_a, share_b = first.var(ddof=1) / len(first), second.var(ddof=1) / len(second)
    both = share_a + share_b
    middle, half = second.mean() - first.mean(), 0.0
    if both > 0:
        freedom = both**2 / (share_a**2 / (len(first) - 1) + share_b**2 / (len(second) - 1))
        half = student.ppf(0.5 + confidence / 2, freedom) * np.sqrt(both)
    value, low, high = (min(max(float(np.exp(min(end, 700))), 1 / LARGEST), LARGEST)
                        for end in (middle, middle - half, middle + half))  # fmt: skip
    return Interval(value, low, high, confidence)
