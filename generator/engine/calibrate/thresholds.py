"""How much of a tensor's histogram an 8-bit range should hold: the rest is clipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from generator.engine.calibrate.histogram import BINS, Histogram

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LEVELS = 128  # of one sign of an 8-bit number
STEP = 16  # bins between two thresholds that are tried
LEAST_SHARE = 16  # of the largest value: the published search begins at 128 of 2,048 bins, and never cuts deeper


def percentile_threshold(histogram: Histogram, percent: float) -> float:
    """The absolute value below which `percent` % of the values lie, within a bin in proportion."""
    import numpy as np

    wanted = (histogram.zeros + int(histogram.counts.sum())) * percent / 100 - histogram.zeros
    if wanted <= 0:
        return 0.0
    below = np.cumsum(histogram.counts)
    if wanted >= below[-1]:
        return histogram.largest
    index = int(np.searchsorted(below, wanted))
    inside = (wanted - (below[index] - histogram.counts[index])) / histogram.counts[index]
    return min((index + float(inside)) * histogram.edge / BINS, histogram.largest)


def entropy_threshold(histogram: Histogram, *, symmetric: bool) -> float:
    """The threshold whose 8-bit copy of the distribution loses the least information (Kullback-Leibler).

    Source: Szymon Migacz, «8-bit inference with TensorRT», GTC 2017. Of equally good thresholds the widest; of those
    alone by which the values change no more than by the range of all of them (see `squared_errors`).
    """
    import numpy as np

    used = np.flatnonzero(histogram.counts)
    if used.size == 0:
        return 0.0
    top = int(used[-1]) + 1
    if top <= LEVELS:
        return histogram.largest
    # `top` bins end at the largest value or above it; in whole steps, rounded up: a sixteenth of it or more.
    least = -(-top // (LEAST_SHARE * STEP)) * STEP
    tried = np.array([*range(max(LEVELS, least), top, STEP), top])
    errors = squared_errors(histogram, tried, symmetric=symmetric)
    tried = tried[errors <= errors[-1]]
    losses = [_divergence(histogram.counts, int(bins)) for bins in tried]
    best = max(int(bins) for bins, loss in zip(tried, losses, strict=True) if loss <= min(losses))
    return histogram.largest if best == top else min(best * histogram.edge / BINS, histogram.largest)


def squared_errors(histogram: Histogram, bins: Array, *, symmetric: bool) -> Array:
    """For each number of bins, the squared error of all values in 8 bits whose range ends there, FP64.

    `symmetric`: of INT8 around zero, as TensorRT has it; else of UINT8 with a zero point, whose steps are half as
    wide where no value is negative. Entropy counts how many values are cut off, and not how far; and the finer the
    steps, the better it finds a copy of many equal values, though any step is fine enough for these. This measure
    weighs each value by what it loses, and needs no share of values that may be cut off.
    """
    import numpy as np

    counts, width = histogram.counts.astype(np.float64), histogram.edge / BINS
    middles = (np.arange(BINS) + 0.5) * width
    ends = np.minimum(bins * width, histogram.largest)
    if symmetric:
        steps = ends / (LEVELS - 1)
    else:
        # 255 steps over what is left of [least, greatest] and zero: none of them is spent where no value is.
        low, high = max(-histogram.least, 0.0), max(histogram.greatest, 0.0)
        steps = (np.minimum(low, ends) + np.minimum(high, ends)) / 255
    # Sums over the first n bins of 1, x and x²: each error is a difference of them.
    ones, firsts, seconds = (np.append(0.0, np.cumsum(counts * middles**power)) for power in range(3))
    beyond = [sums[-1] - sums[bins] for sums in (ones, firsts, seconds)]
    cut = beyond[2] - 2 * ends * beyond[1] + ends**2 * beyond[0]
    # Below half a step all becomes 0, so that its error is its square; others are off by step²/12 on average.
    small = np.searchsorted(middles, steps / 2)
    rounded: Array = cut + seconds[small] + (ones[bins] - ones[small]) * steps**2 / 12
    return rounded


def clipped_share(histogram: Histogram, threshold: float) -> float:
    """Of all values, zeros too, how many lie beyond `threshold`, 0 to 1; within a bin in proportion."""
    total = histogram.zeros + int(histogram.counts.sum())
    if threshold >= histogram.largest or not total:
        return 0.0
    place = threshold * BINS / histogram.edge
    index = int(place)
    return (int(histogram.counts[index:].sum()) - (place - index) * int(histogram.counts[index])) / total


def _divergence(counts: Array, bins: int) -> float:
    """KL(P ‖ Q): P is the first `bins` with all beyond in the last one, Q the same bins in LEVELS steps."""
    import numpy as np

    kept = counts[:bins].astype(np.float64)
    reference = kept.copy()
    reference[-1] += counts[bins:].sum()
    starts = np.arange(LEVELS) * bins // LEVELS
    widths = np.diff(np.append(starts, bins))
    filled = np.add.reduceat((kept > 0).astype(np.float64), starts)
    level = np.divide(np.add.reduceat(kept, starts), filled, out=np.zeros(LEVELS), where=filled > 0)
    quantised = np.where(kept > 0, np.repeat(level, widths), 0.0)
    if quantised.sum() == 0:
        return float("inf")
    # What is clipped into an empty last bin meets no mass: a little is taken as there, which makes it costly.
    quantised = np.maximum(quantised / quantised.sum(), 1e-12)
    reference /= reference.sum()
    there = reference > 0
    return float(np.sum(reference[there] * np.log(reference[there] / quantised[there])))
