"""Percentiles of a run drawn again, in blocks, so that what stood together in the queue stays together.

Sources: Carlstein (1986), "The use of subseries values for estimating the variance of a general statistic from a
stationary sequence", Annals of Statistics 14, and Künsch (1989), "The jackknife and the bootstrap for general
stationary observations", Annals of Statistics 17. That a block grows at least as the cube root of the run: Hall,
Horowitz and Jing (1995), "On blocking rules for the bootstrap with dependent data", Biometrika 82.

A second opinion: it needs no idea of what a request is worth. In queues its intervals are somewhat too short, as
benchmarks/verdicts.py measures, so verdicts are given by `percentile` and `objective`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from loadtest.statistics.dependence import autocorrelation_time
from loadtest.statistics.judgement import Interval

Floats = np.ndarray[Any, np.dtype[np.float64]]

RESAMPLES = 2000
TAUS, LEAST_BLOCKS, MOST_BLOCKS = 10, 40, 1000
"""A block is so many correlation times long; a run has so many blocks at least, and at most."""
BINS = 4096
"""The slowest requests are put into so many bins of equal size: single ones unless a run is very long."""


def bootstrap_interval(latencies_us: Any, p: float, confidence: float = 0.99, *, seed: int = 1) -> Interval:
    """The percentile `p` (0.99) of the latencies [n], in due order, between quantiles of what drawing again gives.

    Raises ValueError for no latency.
    """
    values = np.asarray(latencies_us)
    if not len(values):
        raise ValueError("no latency was observed")
    side = (1 - confidence) / 2
    low, high = np.quantile(resampled(values, p, seed=seed), [side, 1 - side], method="inverted_cdf")
    value = np.quantile(values, p, method="inverted_cdf")
    return Interval(float(value), float(low), float(high), confidence)


def resampled(values: Any, p: float, *, resamples: int = RESAMPLES, seed: int = 1) -> Floats:
    """The percentile `p` of each resample of the latencies [n]: [resamples]."""
    n = len(values)
    blocks = max(1, n // block_length(values, p))
    owner = np.arange(n) * blocks // n
    sizes = np.bincount(owner, minlength=blocks)
    keep = min(n, int(n * (1 - p) * 3) + 20 * int(sizes.max()))
    order = np.argpartition(values, n - keep)[n - keep :]
    order = order[np.argsort(values[order])[::-1]]  # the slowest first
    bins = min(keep, BINS)
    place = np.arange(keep) * bins // keep
    counts = csr_array((np.ones(keep), (place, owner[order])), shape=(bins, blocks))
    times = np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), resamples)
    over = np.cumsum(counts @ times.T.astype(np.float64), axis=0)  # [bins, resamples]
    above = over > (times @ sizes) * (1 - p)
    found = np.where(above.any(axis=0), above.argmax(axis=0), bins - 1)
    last = np.flatnonzero(np.diff(place, append=bins))  # of each bin
    resamples_of: Floats = np.asarray(values)[order[last[found]]].astype(np.float64)
    return resamples_of


def block_length(values: Any, p: float) -> int:
    """How many neighbours stay together: ten correlation times, the cube root of the run at least."""
    n = len(values)
    rank = max(int(n * p) - 1, 0)
    tau, _ = autocorrelation_time(values > np.partition(values, rank)[rank])
    wanted = max(round(n ** (1 / 3)), round(TAUS * tau), n // MOST_BLOCKS)
    return int(max(1, min(wanted, n // LEAST_BLOCKS)))
