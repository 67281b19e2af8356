"""Percentiles of dependent requests, with the interval that holds the true one.

By order statistics: the true percentile lies under the latency with only so few above it that the binomial rule calls
it few, and over the one with so many above it that the rule calls it many. Nothing is assumed of the distribution.
Source: Woodruff (1952), "Confidence intervals for medians and other position measures", Journal of the American
Statistical Association 47; with the requests counted for what they are worth (see `binomial` and `dependence`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loadtest.statistics.binomial import few, many
from loadtest.statistics.dependence import worth
from loadtest.statistics.judgement import Interval


def percentile_interval(latencies_us: Any, p: float, confidence: float = 0.99) -> Interval:
    """The percentile `p` (0.99) of the latencies [n], in the order in which they were due, with its interval.

    All three are observed latencies. Where there are too few requests for an upper end, the interval ends at the
    largest latency, and its confidence says how sure it is then: less than was asked for. Raises ValueError for no
    latency, and for `p` or `confidence` beyond 0 and 1.
    """
    check(p, confidence)
    values = np.asarray(latencies_us)
    return interval_of(values, p, confidence, worth(values, p))


def check(p: float, confidence: float) -> None:
    """Raises ValueError for what is no percentile or no confidence."""
    if not 0 < p < 1 or not 0 < confidence < 1:
        raise ValueError(f"a percentile and a confidence lie between 0 and 1: {p}, {confidence}")


def interval_of(values: Any, p: float, confidence: float, size: float) -> Interval:
    """The same, of latencies [n] in any order that are worth `size` independent ones."""
    n, side = len(values), (1 - confidence) / 2
    most, least = allowed_over(n, size, p, side)
    # `most` may be above the upper end, and at least `least` must be above what is just under the lower one.
    upper = n - 1 - most if most >= 0 else n - 1
    lower = max(n - least, 0)
    middle = max(int(np.ceil(n * p - 1e-9)) - 1, 0)  # the inverse of the empirical distribution
    ordered = np.partition(values, sorted({lower, middle, upper}))
    missing = 0.0 if most >= 0 else max(float(few(0, size, p)) - side, 0.0)
    # With too few requests for a lower end, the smallest latency is one nearly surely.
    short = 0.0 if least <= n else max(float(many(size, size, p)) - side, 0.0)
    stated = max(confidence - missing - short, 0.0)
    return Interval(float(ordered[middle]), float(ordered[lower]), float(ordered[upper]), stated)


def allowed_over(n: int, size: float, p: float, side: float) -> tuple[int, int]:
    """Of n requests worth `size`: the most above a bound that still pass, -1 for none, and the least that fail.

    n + 1 says that not even all would fail. Each is wrong with at most the probability `side`.
    """
    weight = size / n
    most, none = -1, n  # passes; does not
    while none - most > 1:
        middle = (most + none) // 2
        if float(few(middle * weight, size, p)) <= side:
            most = middle
        else:
            none = middle
    fewer, least = most, n + 1
    while least - fewer > 1:
        middle = (fewer + least) // 2
        if middle > 0 and float(many(middle * weight, size, p)) <= side:
            least = middle
        else:
            fewer = middle
    return most, least
