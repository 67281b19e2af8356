"""The few sizes of batch that an engine is made ready for."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from tritonkit_runtime.buffered.errors import ShapeError
from tritonkit_runtime.parameters import ParameterError


class Buckets:
    """Sizes of batch, smallest first; a batch is padded to the next one. ParameterError for a list that is none."""

    def __init__(self, sizes: Sequence[int]) -> None:
        if not sizes:
            raise ParameterError("buckets is empty: give the sizes of batch to be ready for, such as 1, 2, 4, 8")
        for size in sizes:
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ParameterError(f"buckets holds {size!r}; a size of batch is a whole number of at least 1")
        if len(set(sizes)) < len(sizes):
            raise ParameterError(f"buckets holds a size twice: {', '.join(map(str, sizes))}")
        self.sizes = tuple(sorted(sizes))

    @property
    def largest(self) -> int:
        """The most items that one batch can have."""
        return self.sizes[-1]

    def of(self, items: int) -> int:
        """The smallest size that holds `items`; ShapeError when none does."""
        if items < 1:
            raise ShapeError(f"a batch of {items} items cannot be run: it needs at least one")
        if items > self.largest:
            known = ", ".join(map(str, self.sizes))
            raise ShapeError(f"a batch of {items} items has no bucket; there are {known}: send fewer items at once")
        return self.sizes[bisect.bisect_left(self.sizes, items)]


def doubling(largest: int) -> tuple[int, ...]:
    """1, 2, 4, ... and `largest` itself: at most half of a padded batch is padding."""
    return (*(1 << power for power in range((largest - 1).bit_length())), largest)
