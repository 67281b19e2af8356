"""How many requests over a bound are too many: the binomial rule, for whole requests and for what they are worth.

Source: the rule of MLPerf's LoadGen for its Server scenario. With t requests over the bound, p99 is under it at
confidence c when n >= h + t, with h the smallest number such that BinomCDF(t; h + t, 1 - 0.99) <= 1 - c. That is the
test of Clopper and Pearson (1934), "The use of confidence or fiducial limits", Biometrika 26.

Dependent requests: n of them that are worth w independent ones count as w requests with over * w / n over. The
binomial distribution goes on to real numbers by the incomplete beta function. Source: Korn and Graubard (1998),
"Confidence intervals for proportions with small expected number of positive counts estimated from survey data",
Survey Methodology 24.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import betainc

from loadtest.statistics.judgement import Verdict

Floats = np.ndarray[Any, np.dtype[np.float64]]


def needed(over: int, percentile: float, confidence: float) -> int:
    """The fewest requests with which `over` of them above the bound still pass. Raises ValueError."""
    if over < 0:
        raise ValueError(f"{over} requests cannot be over a bound")
    _check(percentile, confidence)
    low, high = over, over + 1  # `low` is too few, `high` is doubled until it is enough
    while float(few(over, high, percentile)) > 1 - confidence:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if float(few(over, middle, percentile)) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def few(over: Any, n: Any, percentile: float) -> Floats:
    """The probability of at most `over` of `n` above a bound that is exactly the percentile. Both may be real."""
    over, n = np.asarray(over, np.float64), np.asarray(n, np.float64)
    return np.where(over < n, betainc(np.maximum(n - over, 1e-9), over + 1, percentile), 1.0)


def many(over: Any, n: Any, percentile: float) -> Floats:
    """The probability of at least `over` of `n` above a bound that is exactly the percentile. Both may be real."""
    over, n = np.asarray(over, np.float64), np.asarray(n, np.float64)
    return np.where(over > 0, betainc(np.maximum(over, 1e-9), np.maximum(n - over, 0) + 1, 1 - percentile), 1.0)


def verdict(over: int, requests: int, percentile: float = 0.99, confidence: float = 0.99) -> Verdict:
    """What the rule says of independent requests. Each wrong answer has at most the probability 1 - confidence."""
    _check(percentile, confidence)
    if float(few(over, requests, percentile)) <= 1 - confidence:
        return Verdict.PASS
    if float(many(over, requests, percentile)) <= 1 - confidence:
        return Verdict.FAIL
    return Verdict.UNDECIDED


def _check(percentile: float, confidence: float) -> None:
    if not 0 < percentile < 1:
        raise ValueError(f"a percentile lies between 0 and 1, as 0.99 does: {percentile}")
    if not 0.5 <= confidence < 1:
        raise ValueError(f"a confidence lies between 0.5 and 1, as 0.99 does: {confidence}")
