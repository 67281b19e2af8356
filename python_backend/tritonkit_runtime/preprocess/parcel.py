"""A batch's images on their way to the process that has the engine: files, and pixels of what it cannot decode.

They lie in memory that both processes see, behind a table that says where.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tritonkit_runtime.preprocess.packing import Packing, item_bytes, rounded
from tritonkit_runtime.preprocess.recipe import Recipe
from tritonkit_runtime.steps.base import Pixels
from tritonkit_runtime.steps.image_file import Header

# A row of the table: where the item begins in the whole memory, and what it is. Pixels have the orientation 0.
ITEM = np.dtype(
    [("place", "<u8"), ("size_bytes", "<u8"), ("height", "<i4"), ("width", "<i4"), ("orientation", "<i4")], align=True
)


class Packed(NamedTuple):
    """An item as it was taken out: pixels at `address`, or the file `data`, to be turned as its orientation says."""

    address: int
    size_bytes: int
    height: int
    width: int
    orientation: int
    data: bytes


def parcel_bytes(item_shape: Sequence[int], largest: int, max_pixels: int) -> int:
    """What a parcel of up to `largest` images takes, where a resized one has this shape."""
    return rounded(largest * ITEM.itemsize) + largest * item_bytes(item_shape, max_pixels)


class Parcel:
    """Of one batch after the other, at `address`; the shared memory begins at `base`.

    A batch has room for its own items and no more, so that batches of several instances have it together where they
    are put together.
    """

    def __init__(self, address: int, base: int, largest: int, recipe: Recipe, max_pixels: int) -> None:
        size = parcel_bytes(recipe.item_shape, largest, max_pixels)
        self.offset = address - base
        self._head, self._each = rounded(largest * ITEM.itemsize), item_bytes(recipe.item_shape, max_pixels)
        whole = np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(address))
        self._table = whole[: largest * ITEM.itemsize].view(ITEM)
        self._packing = Packing(whole, self._head, size, recipe)
        self._rows = 0

    def clear(self, items: int) -> None:
        """Begins a batch of up to so many; the one before must be answered."""
        self._packing.clear(self._head + items * self._each)
        self._rows = 0

    def fits(self, items: int) -> bool:
        """Whether all that was added has room in a batch of so many."""
        return self._packing.used <= self._head + items * self._each

    def add(self, image: Pixels, left: int) -> None:
        """The next row is of this image, UINT8 [H, W, C], which is copied; `left`: so many more may come."""
        place, (height, width, channels) = self._packing.add(image, left)
        self._put(place, height * width * channels, height, width, 0)

    def add_file(self, header: Header, orientation: int, left: int) -> bool:
        """The next row is of this file, which is copied; whether there was room for it."""
        place = self._packing.keep(header.data, left)
        if place is None:
            return False
        self._put(place, len(header.data), header.height, header.width, orientation)
        return True

    def _put(self, place: int, *rest: int) -> None:
        self._table[self._rows] = (self.offset + place, *rest)
        self._rows += 1


def unpacked(
    memory: tuple[int, int], offset: int, items: int, item_shape: Sequence[int], max_pixels: int
) -> list[Packed]:  # fmt: skip
    """The items of a parcel at `offset` of the memory (its address and size); files are copied out of it.

    So what an instance still writes there hurts its own batch alone. ValueError for what does not lie in the memory,
    is no image, or is more than the batch has room for.
    """
    base, size = memory
    end = offset + items * ITEM.itemsize
    if offset % ITEM.alignment or end > size:
        raise ValueError(f"a table of {items} images at {offset} is not in the {size} bytes that were shared")
    # Not `string_at`, which takes lengths for 32-bit numbers.
    whole: Any = (ctypes.c_char * size).from_address(base)
    table = np.frombuffer(whole[offset:end], ITEM)
    found, used, channels = [], 0, item_shape[2]
    room = items * item_bytes(item_shape, max_pixels)
    for place, length, height, width, orientation in table.tolist():
        if not length or place + length > size:
            raise ValueError(f"{length} bytes at {place} are not in the {size} that were shared")
        if height < 1 or width < 1 or not 0 <= orientation <= 8:
            raise ValueError(f"no image has {width}x{height} pixels and the orientation {orientation}")
        used += rounded(length)
        if used > room:  # before it is copied: rows may all say that they have the same bytes
            raise ValueError(f"{used} bytes of files and pixels, more than {items} images have room for")
        if orientation:
            if height * width > max_pixels:
                raise ValueError(f"a file of {width}x{height} pixels, more than the limit of {max_pixels}")
            data = whole[place : place + length]
        else:
            if length != height * width * channels:
                raise ValueError(f"{length} bytes for {width}x{height} pixels of {channels} channels")
            data = b""
        found.append(Packed(base + place, length, height, width, orientation, data))
    return found
