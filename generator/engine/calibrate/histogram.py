"""The absolute values of one tensor, counted in bins whose width doubles as larger values come."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

BINS = 4096


class Extent:
    """Least and greatest value seen, and whether one was NaN or infinite."""

    def __init__(self) -> None:
        self.least, self.greatest = math.inf, -math.inf
        self.finite = True

    @property
    def seen(self) -> bool:
        """Whether there was any value."""
        return self.least <= self.greatest or not self.finite

    @property
    def largest(self) -> float:
        """The largest absolute value."""
        return max(abs(self.least), abs(self.greatest))

    def add(self, values: Array) -> None:
        """Takes in a float array of any shape."""
        if values.size == 0 or not self.finite:
            return
        least, greatest = float(values.min()), float(values.max())
        if not (math.isfinite(least) and math.isfinite(greatest)):
            self.finite = False
            return
        self.least, self.greatest = min(self.least, least), max(self.greatest, greatest)


class Histogram(Extent):
    """An Extent with `counts` INT64 [4096] of the absolute values in [0, edge), and how many were exactly zero.

    Zeros are in no bin, because every range holds them exactly. `edge` is a power of two, so that bins merge without
    error: the counts do not depend on the order or the batches in which values come.
    """

    def __init__(self) -> None:
        import numpy as np

        super().__init__()
        self.counts = np.zeros(BINS, np.int64)
        self.edge = 0.0
        self.zeros = 0

    def add(self, values: Array) -> None:
        """Takes in a float array of any shape."""
        import numpy as np

        super().add(values)
        if not self.finite or values.size == 0:
            return
        sizes = np.abs(values[values != 0]).astype(np.float64)
        self.zeros += values.size - sizes.size
        if sizes.size == 0:
            return
        self._widen(self.largest)
        sizes *= BINS / self.edge
        self.counts += np.bincount(sizes.astype(np.int64), minlength=BINS)

    def _widen(self, largest: float) -> None:
        # Strictly above the largest value, so that none lies on the last edge.
        needed = math.ldexp(1.0, math.frexp(largest)[1])
        self.edge = self.edge or needed
        while self.edge < needed:
            self.edge *= 2
            self.counts[: BINS // 2] = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts[BINS // 2 :] = 0
