"""What the charts of a run need of its samples, in one pass over a file that may be larger than memory.

Of each request 4 bytes of latency and 4 of lag are held, and one of its pipeline where there are several.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loadtest.results.run import Run
from loadtest.samples.record import Outcome, Samples

CHUNK = 1 << 20
TELLING = 100  # a bin of fewer requests has no p99
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
MARKS = (0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999, 0.999999)

UInt32s = np.ndarray[Any, np.dtype[np.uint32]]
Curve = tuple[tuple[float, float], ...]


class DisorderError(ValueError):
    """Samples that are not in the order in which they were due."""


@dataclass(frozen=True)
class Bin:
    """The requests that were due in a piece of time. A percentile is None where too few were."""

    start_s: float
    end_s: float
    requests: int
    errors: int
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    lag_p99_us: float | None
    lag_max_us: float | None


@dataclass(frozen=True)
class Digest:
    """`curve` is (share of requests that are faster or equal, ms), every value one that was observed.

    `bins` cover the whole run with its warm-up, `curve` and `by_pipeline` what counts. Of a run that cannot be
    believed no latency is told: both are empty and the bins have none.
    """

    samples: int
    bins: tuple[Bin, ...]
    curve: Curve
    by_pipeline: dict[str, Curve] = field(default_factory=dict)


@dataclass
class _Columns:
    """What is held of each request that was sent and not cancelled on purpose, in order of due time."""

    latency_us: UInt32s
    lag_us: UInt32s
    pipeline: np.ndarray[Any, np.dtype[np.uint8]] | None
    warm: int  # of these, how many belong to the warm-up
    starts: np.ndarray[Any, np.dtype[np.int64]]  # where each bin begins
    errors: np.ndarray[Any, np.dtype[np.int64]]  # how many errors there are before each bin


def digest(samples: Samples, run: Run, most_bins: int = 240, steps: int = 40) -> Digest:
    """Reduces the samples of `run` to so many bins, and so many percentiles a decade. Raises DisorderError."""
    if not len(samples):
        return Digest(0, (), ())
    edges = _edges(float(samples["due_us"][-1]) / 1e6, len(samples), most_bins)
    columns = _read(samples, run, edges)
    believed = run.validity.valid
    bins = tuple(_bins(columns, edges, believed=believed))
    if not believed:
        return Digest(len(samples), bins, ())
    counted = columns.latency_us[columns.warm :]
    by_pipeline = {}
    if columns.pipeline is not None:
        of = columns.pipeline[columns.warm :]
        by_pipeline = {name: _curve(counted[of == place], steps) for place, name in enumerate(run.traffic.mix)}
    return Digest(len(samples), bins, _curve(counted, steps), by_pipeline)


def _read(samples: Samples, run: Run, edges: list[float]) -> _Columns:
    total, filled, last = len(samples), 0, 0
    latency, lag = np.empty(total, np.uint32), np.empty(total, np.uint32)
    pipeline = np.empty(total, np.uint8) if len(run.traffic.mix) > 1 else None
    starts, errors = np.zeros(len(edges), np.int64), np.zeros(len(edges), np.int64)
    deadline_us, edges_us, warm = np.uint32(round(run.traffic.deadline_ms * 1000)), np.array(edges) * 1e6, 0
    for first in range(0, total, CHUNK):
        # A memmap is read once: its columns lie 24 bytes apart.
        chunk = np.array(samples[first : first + CHUNK])
        if int(chunk["due_us"][0]) < last or np.any(chunk["due_us"][1:] < chunk["due_us"][:-1]):
            raise DisorderError
        last = int(chunk["due_us"][-1])
        kept = (chunk["outcome"] != Outcome.CANCELLED) & (chunk["outcome"] != Outcome.UNSENT)
        warm += int(np.count_nonzero(kept[: max(0, run.warm_up.requests - first)]))
        chunk = chunk[kept]
        wrong, end = chunk["outcome"] != Outcome.OK, filled + len(chunk)
        latency[filled:end] = np.where(wrong, np.maximum(chunk["latency_us"], deadline_us), chunk["latency_us"])
        lag[filled:end] = chunk["lag_us"]
        if pipeline is not None:
            pipeline[filled:end] = chunk["pipeline"]
        starts += np.searchsorted(chunk["due_us"], edges_us)
        errors += np.searchsorted(chunk["due_us"][wrong], edges_us)
        filled = end
    return _Columns(
        latency[:filled], lag[:filled], None if pipeline is None else pipeline[:filled], warm, starts, errors
    )


def _edges(duration_s: float, requests: int, most: int) -> list[float]:
    """Bins of a round length, few enough that most of them have enough requests, the last one whole."""
    wanted = min(max(requests // (2 * TELLING), 12), most)
    step = next((step for step in STEPS if duration_s / step <= wanted), STEPS[-1])
    return [number * step for number in range(math.floor(duration_s / step) + 2)]


def _bins(columns: _Columns, edges: list[float], *, believed: bool) -> Iterator[Bin]:
    for place in range(len(edges) - 1):
        start, end = int(columns.starts[place]), int(columns.starts[place + 1])
        errors = int(columns.errors[place + 1] - columns.errors[place])
        latencies = _three(columns.latency_us[start:end]) if believed else (None, None, None)
        p50, p99, most = (None if value is None else value / 1000 for value in latencies)
        _, lag_p99, lag_most = _three(columns.lag_us[start:end])
        yield Bin(
            edges[place], edges[place + 1], end - start, errors, p50, p99, most, lag_p99, lag_most
        )  # fmt: skip


def _three(values: UInt32s) -> tuple[float | None, float | None, float | None]:
    """Median, p99 and maximum: observed values."""
    n = len(values)
    if not n:
        return None, None, None
    ranks = [_rank(n, 0.5), _rank(n, 0.99), n - 1]
    found = np.partition(values, ranks)
    return float(found[ranks[0]]), float(found[ranks[1]]) if n >= TELLING else None, float(found[ranks[2]])


def _rank(n: int, share: float) -> int:
    """Of the smallest value that at least this share of all does not exceed, from 0."""
    return min(max(math.ceil(share * n - 1e-9) - 1, 0), n - 1)


def _curve(latencies_us: UInt32s, steps: int) -> Curve:
    """(share, ms) at shares that lie even on a logarithmic axis, with the usual percentiles and the largest."""
    n = len(latencies_us)
    if not n:
        return ()
    ordered = np.sort(latencies_us)
    decades = max(math.log10(n), 0.31)
    shares = {1 - 10 ** (-place / steps) for place in range(math.floor(decades * steps) + 1)}
    shares |= {mark for mark in MARKS if 1 / (1 - mark) <= n}
    found = {share: float(ordered[_rank(n, share)]) / 1000 for share in shares}
    found[1.0] = float(ordered[-1]) / 1000
    return tuple(sorted(found.items()))
