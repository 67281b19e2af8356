"""How many independent requests a run is worth.

A request that waits long stands in a queue with others that wait long: whether one is over the bound says much about
its neighbours. n dependent requests tell as much of a share as n / tau independent ones, with tau the sum of the
autocorrelations of "is over" at all lags. Source of tau and of where its sum is cut: Sokal (1997), "Monte Carlo
methods in statistical mechanics", section 3: the sum stops at the first lag M >= 5 * tau(M).

tau itself is only found, and where it is found too small, a run passes that should not. That happens when few
stretches of slow requests were seen. So tau is taken at several levels around the percentile, whose stretches are
more or fewer, and the largest counts; and each is raised by its own uncertainty: with m requests over the level, m /
tau independent ones tell of tau, so it is raised by RAISED * (1 - 1 / tau) / sqrt(m / tau). Independent requests, tau
= 1, are not raised. That factor is no theory's: it is the one with which the simulations of benchmarks/verdicts.py
pass no more than one in a hundred wrongly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

Floats = np.ndarray[Any, np.dtype[np.float64]]

WINDOW = 5.0
"""How many times tau the lags reach that are added up."""
LEVELS = (0.2, 0.5, 1, 2, 5)
"""For a p99, tau is that of the slowest 0.2 %, 0.5 %, 1 %, 2 % and 5 %."""
RAISED = 3.0
SECTION, SECTIONS = 1 << 17, 16
"""Longer runs are cut into sections of so many requests, and so many of them, evenly spread, are looked at."""


def worth(latencies: Any, percentile: float = 0.99, bound: float | None = None) -> float:
    """How many independent requests the `latencies` [n], in the order in which they were due, are worth for it.

    With a `bound`, for the share above that as well. At most n, and at least 1. Raises ValueError for no latency.
    """
    values = np.asarray(latencies)
    if not len(values):
        raise ValueError("no latency was observed")
    return max(len(values) / correlation_time(values, percentile, bound), 1.0)


def worth_of_events(happened: Any) -> float:
    """As `worth`, of requests of which each says whether something `happened` [n], such as an error."""
    if not len(happened):
        raise ValueError("nothing was observed")
    return max(len(happened) / raised(np.asarray(happened)), 1.0)


def correlation_time(values: Any, percentile: float, bound: float | None = None) -> float:
    """tau of the latencies [n] around a percentile, and at the `bound`, raised: 1 for independent ones.

    Where none is above a level, because the largest are all equal (timeouts are, at the deadline), those at it count.
    """
    n = len(values)
    over = [max(1, round(n * (1 - percentile) * level)) for level in LEVELS]
    ranks = sorted({n - 1 - count for count in over if count < n})
    thresholds = np.unique(np.partition(values, ranks)[ranks]) if ranks else []
    largest = values.max()
    taus = [raised(values > level if level < largest else values >= level) for level in thresholds]
    if bound is not None:
        taus.append(raised(values > bound))
    return max(taus, default=1.0)


def raised(over: Any) -> float:
    """tau of the indicators [n], raised by how little they tell of it."""
    tau, _ = autocorrelation_time(over)
    tell = np.count_nonzero(over) / tau
    return float(tau * (1 + RAISED * (1 - 1 / tau) / np.sqrt(tell))) if tell else tau


def autocorrelation_time(series: Any) -> tuple[float, int]:
    """The sum of the autocorrelations of a series [n] at all lags, and how many lags were added up."""
    return windowed_sum(autocovariances(series))


def windowed_sum(covariances: Floats) -> tuple[float, int]:
    """The same, of the autocovariances at the lags from 0 on. At least 1."""
    if len(covariances) < 2 or covariances[0] <= 0:
        return 1.0, 0
    tau = 1 + 2 * np.cumsum(covariances[1:]) / covariances[0]
    enough = np.arange(1, len(tau) + 1) >= WINDOW * tau
    last = int(np.argmax(enough)) if enough.any() else len(tau) - 1
    return max(float(tau[last]), 1.0), last + 1


def autocovariances(series: Any) -> Floats:
    """Of a series [n] at the lags 0 to a quarter of a section, by Fourier transforms."""
    n = len(series)
    section = min(n, SECTION)
    lags = max(section // 4, 1)
    size = next_fast_len(section + lags, real=True)
    mean = np.float32(np.mean(series))
    total: Floats = np.zeros(size // 2 + 1)
    starts = np.linspace(0, n - section, min(-(-n // section), SECTIONS)).astype(int)
    for start in starts:
        transformed = rfft(np.asarray(series[start : start + section], np.float32) - mean, size)
        total += transformed.real**2 + transformed.imag**2
    found: Floats = irfft(total, size)[:lags] / (section * len(starts))
    return found
