"""Requests answered a second, and how far those of two runs differ."""

from __future__ import annotations

from typing import Any

import numpy as np

from loadtest.report.digest import CHUNK
from loadtest.results.run import Run
from loadtest.samples.record import Outcome, Samples
from loadtest.statistics.compare import REPLICATES, between, runs_of
from loadtest.statistics.judgement import Interval

SLOTS, RESAMPLES, SEED = 256, 2000, 20_240_601
LEAST_RPS = 1e-9  # where nothing was answered, a ratio still is one

Floats = np.ndarray[Any, np.dtype[np.float64]]


def answered(samples: Samples, run: Run) -> Floats:
    """Good answers a second in equal pieces of the time after the warm-up, [SLOTS]."""
    first = min(run.warm_up.requests, len(samples) - 1)
    start, end = int(samples["due_us"][first]), int(samples["due_us"][-1]) + 1
    edges = np.linspace(start, end, SLOTS + 1)
    found = np.zeros(SLOTS)
    for place in range(0, len(samples), CHUNK):
        chunk = np.array(samples[place : place + CHUNK])
        chunk = chunk[chunk["outcome"] == Outcome.OK]
        found += np.histogram(chunk["due_us"] + chunk["latency_us"], edges)[0]
    return found / ((end - start) / SLOTS / 1e6)


def ratio(a: Floats | list[Floats], b: Floats | list[Floats], confidence: float) -> Interval:
    """Of b to a, [SLOTS] of a run or a list of several: by resampling blocks of neighbouring pieces.

    What is slow stays slow for a while. Where both sides have enough runs, how much these differ counts too (see
    loadtest.statistics.compare).
    """
    rng, sides = np.random.default_rng(SEED), (runs_of(a), runs_of(b))
    first, second = (np.mean([_means(run, rng) for run in runs], axis=0) for runs in sides)
    tail = (1 - confidence) / 2
    low, high = (float(end) for end in np.quantile(second / np.maximum(first, LEAST_RPS), [tail, 1 - tail]))
    own_a, own_b = ([max(float(run.mean()), LEAST_RPS) for run in runs] for runs in sides)
    value = float(np.mean(own_b) / np.mean(own_a))
    if min(len(own_a), len(own_b)) >= REPLICATES:
        by_runs = between(own_a, own_b, confidence)
        low, high = min(low, by_runs.low), max(high, by_runs.high)
    return Interval(value, min(low, value), max(high, value), confidence)


def _means(values: Floats, rng: np.random.Generator) -> Floats:
    """Means of resampled series, [RESAMPLES], of blocks that go around the end."""
    length = round(len(values) ** 0.5)
    sums = np.convolve(np.concatenate([values, values[: length - 1]]), np.ones(length), "valid")
    blocks = len(values) // length
    chosen = rng.integers(0, len(sums), (RESAMPLES, blocks))
    found: Floats = sums[chosen].mean(axis=1) / length
    return found
