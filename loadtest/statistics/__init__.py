"""Numbers about a set of answers. Latencies are whole microseconds; nothing is bucketed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Percentiles:
    """Latency percentiles in milliseconds, each an observed value (the inverse of the empirical distribution)."""

    p50_ms: float
    p95_ms: float
    p99_ms: float


def percentiles(latencies_us: Sequence[int]) -> Percentiles:
    """The percentiles of `latencies_us`. Raises ValueError when there are none."""
    import numpy as np

    if not latencies_us:
        raise ValueError("no latency was observed")
    values = np.percentile(np.asarray(latencies_us), [50, 95, 99], method="inverted_cdf") / 1000
    return Percentiles(*(float(v) for v in values))
