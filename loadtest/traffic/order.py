"""Which pipeline and which payload each arrival has: from streams of their own, so that nothing else moves them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from loadtest.traffic.schedule import UInt8s, UInt32s

    Floats = np.ndarray[Any, np.dtype[np.float64]]


_MARGIN = 6.0  # in standard deviations of a count


class Stream(IntEnum):
    """What is drawn from a stream of its own. The numbers are part of what a seed means: they never change."""

    TIMES = 0
    PIPELINES = 1
    PAYLOADS = 2


def stream(seed: int, which: Stream, index: int = 0) -> np.random.Generator:
    """The generator of one stream of `seed`, independent of all others."""
    import numpy as np

    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(int(which), index))))


def unit_arrivals(seed: int, below: float) -> Floats:
    """The arrivals of a Poisson process of rate 1, ascending, [n]: all that are less than `below`.

    A larger `below` gives the same ones and more.
    """
    import numpy as np

    random = stream(seed, Stream.TIMES)
    found: Floats = np.zeros(0)
    last = 0.0
    while last < below:
        # Enough at once, nearly always: the count varies by the root of what is expected.
        left = below - last
        gaps = random.standard_exponential(max(0, int(left + _MARGIN * left**0.5)) + 16)
        gaps[0] += last
        more = np.cumsum(gaps, out=gaps)
        found = np.concatenate([found, more]) if len(found) else more
        last = float(found[-1])
    return found[: int(np.searchsorted(found, below))]


def pipelines(seed: int, shares: Sequence[float], count: int) -> UInt8s:
    """`count` indices into `shares` (which add up to 1), each drawn by itself, [count]."""
    import numpy as np

    if len(shares) == 1:
        return np.zeros(count, np.uint8)
    bounds = np.cumsum(shares)[:-1]
    return np.searchsorted(bounds, stream(seed, Stream.PIPELINES).random(count), side="right").astype(np.uint8)


def payloads(seed: int, pipeline: UInt8s, counts: Sequence[int]) -> UInt32s:
    """The payload of each arrival, [n]: a pipeline's `counts[index]` ones in a new seeded order each time round."""
    import numpy as np

    if len(counts) == 1:
        return _rounds(seed, 0, counts[0], len(pipeline))
    found = np.zeros(len(pipeline), np.uint32)
    for index, count in enumerate(counts):
        mine = pipeline == index
        found[mine] = _rounds(seed, index, count, int(mine.sum()))
    return found


def _rounds(seed: int, index: int, payload_count: int, count: int) -> UInt32s:
    import numpy as np

    if payload_count == 1:
        return np.zeros(count, np.uint32)
    rounds = np.tile(np.arange(payload_count, dtype=np.uint32), (-(-count // payload_count), 1))
    stream(seed, Stream.PAYLOADS, index).permuted(rounds, axis=1, out=rounds)
    return rounds.ravel()[:count]
