"""How sure a figure is that was measured on so many items."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generator.engine.runner import Array

# The 97.5 % quantile of the normal distribution: two-sided 95 %.
Z_95 = 1.959963984540054


def wilson(right: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """The interval of a share of `right` in `total`, 0 to 1 (Wilson, J. Am. Stat. Assoc. 22, 1927).

    Chosen because it stays within 0 and 1 and holds its level with few items and with shares near 1, where the
    textbook's normal interval does not (Brown, Cai and DasGupta, Statistical Science 16, 2001).
    """
    if total <= 0:
        return 0.0, 1.0
    share = right / total
    middle = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # At the ends the bound is the share itself; the arithmetic would miss it by a rounding error.
    low = 0.0 if right == 0 else (middle - half) / scale
    high = 1.0 if right == total else (middle + half) / scale
    return max(0.0, low), min(1.0, high)


def resampled_f1(counts: Array, seed: int = 0, times: int = 1000) -> tuple[float, float]:
    """The 95 % percentile bootstrap of F1 over items (Efron and Tibshirani, 1993); `counts` is [items, 3]: hits,
    false alarms, misses."""
    import numpy as np

    if len(counts) == 0:
        return 0.0, 1.0
    chosen = np.random.default_rng(seed).integers(0, len(counts), (times, len(counts)))
    hits, false, missed = (counts[:, column][chosen].sum(axis=1) for column in range(3))
    parts = 2 * hits + false + missed
    values = np.where(parts == 0, 1.0, 2 * hits / np.maximum(parts, 1))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
