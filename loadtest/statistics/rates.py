"""The share of errors, with its interval."""

from __future__ import annotations

from scipy.special import betaincinv

from loadtest.statistics.judgement import Interval, Verdict


def error_rate(errors: int, n: int, confidence: float = 0.99, *, worth: float | None = None) -> Interval:
    """The share of requests that failed, with the interval of Clopper and Pearson (1934), Biometrika 26.

    `worth`: how many independent requests the `n` are worth, when errors come in groups. Raises ValueError.
    """
    if n < 1 or not 0 <= errors <= n:
        raise ValueError(f"{errors} errors of {n} requests are no rate")
    size = float(n) if worth is None else worth
    found, side = errors * size / n, (1 - confidence) / 2
    low = float(betaincinv(found, size - found + 1, side)) if errors else 0.0
    high = float(betaincinv(found + 1, size - found, 1 - side)) if errors < n else 1.0
    return Interval(errors / n, low, high, confidence)


def errors_verdict(
    errors: int, n: int, max_error_rate: float, confidence: float = 0.99, *, worth: float | None = None
) -> Verdict:
    """Whether the share of errors is under its bound, over it, or not yet known; each at `confidence` one-sided.

    `worth` is as for `error_rate`. Bursts of errors so rare that a run saw none are not seen by it.
    """
    found = error_rate(errors, n, 2 * confidence - 1, worth=worth)
    if found.high <= max_error_rate:
        return Verdict.PASS
    return Verdict.FAIL if found.low > max_error_rate else Verdict.UNDECIDED
