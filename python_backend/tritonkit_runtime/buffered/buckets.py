"""The few sizes of batch that an engine is made ready for, and the few lengths of what has an open axis."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Literal

from tritonkit_runtime.buffered.errors import ShapeError
from tritonkit_runtime.parameters import ParameterError

_WORDS = {
    "buckets": ("a size of batch", "sizes of batch to be ready for, such as 1, 2, 4, 8"),
    "lengths": ("a length", "lengths to be ready for, such as 16, 32, 64"),
}


class Buckets:
    """Sizes, smallest first; a batch is padded to the next one. ParameterError for a list that is none.

    `field` is what they are of: `buckets` are numbers of items, `lengths` those of an open axis.
    """

    def __init__(self, sizes: Sequence[int], field: Literal["buckets", "lengths"] = "buckets") -> None:
        what, example = _WORDS[field]
        if not sizes:
            raise ParameterError(f"{field} is empty: give the {example}")
        for size in sizes:
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ParameterError(f"{field} holds {size!r}; {what} is a whole number of at least 1")
        if len(set(sizes)) < len(sizes):
            raise ParameterError(f"{field} holds a size twice: {', '.join(map(str, sizes))}")
        self.sizes, self._field = tuple(sorted(sizes)), field

    @property
    def largest(self) -> int:
        """The most items that one batch can have, or the greatest length."""
        return self.sizes[-1]

    def of(self, items: int) -> int:
        """The smallest size that holds `items`; ShapeError when none does."""
        of_length = self._field == "lengths"
        batch = f"a batch of length {items}" if of_length else f"a batch of {items} items"
        if items < 1:
            raise ShapeError(f"{batch} cannot be run: it needs at least one")
        if items > self.largest:
            known = ", ".join(map(str, self.sizes))
            mend = "send shorter ones" if of_length else "send fewer items at once"
            raise ShapeError(f"{batch} has no bucket; there are {known}: {mend}")
        return self.sizes[bisect.bisect_left(self.sizes, items)]


def doubling(largest: int) -> tuple[int, ...]:
    """1, 2, 4, ... and `largest` itself: at most half of a padded batch is padding."""
    return (*(1 << power for power in range((largest - 1).bit_length())), largest)
