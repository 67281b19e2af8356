"""The verdict on a percentile: pass, fail, or not yet known."""

from __future__ import annotations

from typing import Any

import numpy as np

from loadtest.statistics import binomial
from loadtest.statistics.dependence import worth
from loadtest.statistics.judgement import Judgement, Verdict
from loadtest.statistics.percentile import interval_of


def judge(latencies_us: Any, bound_us: float, *, percentile: float = 0.99, confidence: float = 0.99) -> Judgement:
    """Whether the percentile of the latencies [n], in the order in which they were due, is under its bound.

    A wrong pass has at most the probability 1 - confidence, and so has a wrong fail: it passes when the interval of
    the percentile lies under the bound, and fails when it lies above, with 1 - confidence on either side of the
    interval. A run that is looked at more than once asks `Looks.confidence` what `confidence` to give at each. A
    latency equal to the bound is within it. Raises ValueError for no latency, and for a percentile or confidence that
    is none.
    """
    values = np.asarray(latencies_us)
    over = int(np.count_nonzero(values > bound_us))
    by_binomial = binomial.verdict(over, len(values), percentile, confidence)
    size = worth(values, percentile, bound_us)
    return Judgement(
        verdict=decide(over, len(values), size, percentile, confidence), percentile=percentile,
        bound_us=float(bound_us), interval=interval_of(values, percentile, 2 * confidence - 1, size),
        requests=len(values), over=over, worth=size, by_binomial=by_binomial,
        needed=binomial.needed(over, percentile, confidence),
    )  # fmt: skip


def decide(over: int, requests: int, size: float, percentile: float, confidence: float) -> Verdict:
    """The verdict on `requests` that are worth `size` independent ones, with `over` of them above the bound."""
    counted = over * size / requests
    if float(binomial.few(counted, size, percentile)) <= 1 - confidence:
        return Verdict.PASS
    if float(binomial.many(counted, size, percentile)) <= 1 - confidence:
        return Verdict.FAIL
    return Verdict.UNDECIDED
