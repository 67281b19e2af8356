"""The images of a batch one behind the other in memory of a fixed size: what has no room is resized first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tritonkit_runtime.batch import Array
from tritonkit_runtime.preprocess.recipe import Recipe
from tritonkit_runtime.steps.base import Pixels

# Room for each image of the largest batch, on average: 800x600 and a little more. A batch shares what it has, and
# an image that finds no room is resized on the CPU before it is put there.
STAGED_PIXELS = 1 << 19
ALIGNMENT_BYTES = 256


def rounded(size_bytes: int) -> int:
    """What so many bytes take."""
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def item_bytes(item_shape: Sequence[int], max_pixels: int) -> int:
    """Room for one image, on average, where `item_shape` is that of a resized one: height, width, channels."""
    height, width, channels = item_shape
    return rounded(max(min(max_pixels, STAGED_PIXELS), height * width) * channels)


class Packing:
    """Places in `size_bytes` of memory, behind its `head` bytes; `memory` is as much of it as the host writes.

    `shrunk` counts the images that had no room and were resized.
    """

    def __init__(self, memory: Array, head: int, size_bytes: int, recipe: Recipe) -> None:
        self._memory, self._head, self._size = memory, head, size_bytes
        self._made, self._resize = recipe.item_shape, recipe.resize
        self._least = rounded(math.prod(recipe.item_shape))
        self._end = size_bytes
        self.used, self.shrunk = head, 0

    def clear(self, end: int | None = None) -> None:
        """Begins a batch, which has the room up to `end`."""
        self.used, self._end = self._head, self._size if end is None else end

    def taken(self, size_bytes: int, left: int = 0) -> int | None:
        """Where so many bytes have their place now; None where they leave no room for `left` images more."""
        place, end = self.used, self.used + rounded(size_bytes)
        if end + left * self._least > self._end:
            return None
        self.used = end
        return place

    def add(self, image: Pixels, left: int) -> tuple[int, tuple[int, int, int]]:
        """Where a copy of the image begins, UINT8 [H, W, C], and its shape there; so many more may come."""
        shape: tuple[int, int, int] = image.shape  # type: ignore[assignment]
        place = self.taken(image.nbytes, left)
        if place is not None:
            self._memory[place : place + image.nbytes].reshape(shape)[...] = image
            return place, shape
        shape, place = self._made, self.used  # which every image has left room for
        size = math.prod(shape)
        self._resize.into(self._memory[place : place + size].reshape(shape), image)
        self.used += rounded(size)
        self.shrunk += 1
        return place, shape

    def keep(self, data: bytes, left: int) -> int | None:
        """Where a copy of a file begins; None where there is no room for it."""
        place = self.taken(len(data), left)
        if place is not None:
            self._memory[place : place + len(data)] = np.frombuffer(data, np.uint8)
        return place
