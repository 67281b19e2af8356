"""The pixels of a batch on their way to the kernel: pinned memory of one lane, and the GPU's memory behind it."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tritonkit_runtime.buffered.slot import taken
from tritonkit_runtime.device.held import Held
from tritonkit_runtime.preprocess.decoder import Decoded, Room, View
from tritonkit_runtime.preprocess.source import BLOCK
from tritonkit_runtime.steps.base import Pixels
from tritonkit_runtime.steps.image_file import Header

if TYPE_CHECKING:
    from tritonkit_runtime.preprocess.kernel import Kernel

# `Image` of the kernel's source, and the same where images may lie there turned.
_FIELDS = [("pixels", "<u8"), ("height", "<i4"), ("width", "<i4"), ("scale_y", "<f8"), ("scale_x", "<f8")]
IMAGE = np.dtype(_FIELDS, align=True)
TURNED_IMAGE = np.dtype([*_FIELDS, ("row", "<i4"), ("column", "<i4")], align=True)
_ALIGNMENT_BYTES = 256


class Staging:
    """Room for one batch, of a lane whose input is at `address`: a table of images, then their pixels; a Fed.

    Allocated once. `shrunk` counts the images that had no room and came resized from the CPU. Images that the GPU
    has decoded are read where they are: `decode` puts that into a stream of its own, which the kernel waits for.
    Raises OutOfMemoryError, and keeps nothing then.
    """

    def __init__(self, kernel: Kernel, address: int, largest: int, number: int) -> None:
        self._kernel, self._device, self._address = kernel, kernel.device, address
        height, width, channels = kernel.recipe.item_shape
        self._least = _rounded(math.prod(kernel.recipe.item_shape))
        image = IMAGE if kernel.decoder is None else TURNED_IMAGE
        self._head = _rounded(largest * image.itemsize)
        self.size_bytes = self._head + largest * _rounded(max(kernel.item_pixels, height * width) * channels)
        self._room: Room | None = None
        self._decoding = False
        self._held = Held()
        with self._held.or_nothing():
            device, what = self._device, f"the pixels of {largest} images of slot {number}"
            host = taken(device, device.pinned, self.size_bytes, f"pinned memory of {what}")
            self._host = self._held.handle(host, device.free_pinned)
            self._pointer = self._held.handle(taken(device, device.allocate, self.size_bytes, what), device.free)
            if kernel.decoder is not None:
                self._stream = self._held.handle(device.stream(), device.free_stream)
                self._decoded = self._held.handle(device.event(timed=False), device.free_event)
                self._held.add(lambda: device.wait(self._stream))  # what the room gives back, it gives back there
                self._room = kernel.decoder.room(largest, self._stream)
                self._held.add(self._room.close)
                self._held.add(lambda: device.wait(self._stream))
        self._whole = np.ctypeslib.as_array((ctypes.c_ubyte * self.size_bytes).from_address(self._host))
        self._table = self._whole[: largest * image.itemsize].view(image)
        self._table[...] = 0
        self._used, self._filled, self.rows, self.shrunk = self._head, 0, 0, 0

    def clear(self) -> None:
        """Begins a batch; the one before must be done."""
        self._used, self.rows = self._head, 0
        self._decoding = False

    def decode(self, files: Sequence[Header]) -> list[Decoded | None]:
        """Puts the decoding of these files on its way; None of those that are left to the CPU. Once a batch."""
        if self._room is None or not files:
            return [None] * len(files)
        found = self._room.decode(files, self._stream)
        self._device.record(self._decoded, self._stream)
        self._decoding = True
        return found

    def add(self, image: Pixels, left: int) -> None:
        """The next row is of this image, UINT8 [H, W, C], which is copied; `left`: so many more may come."""
        made = self._kernel.recipe.item_shape
        shape, size, place = image.shape, image.nbytes, self._used
        if place + _rounded(size) + left * self._least > self.size_bytes:
            shape, size = made, math.prod(made)
            self._kernel.recipe.resize.into(self._whole[place : place + size].reshape(shape), image)
            self.shrunk += 1
        else:
            self._whole[place : place + size].reshape(shape)[...] = image
        height, width, channels = shape
        self.point(View(self._pointer + place, height, width, width * channels, channels))
        self._used = place + _rounded(size)

    def point(self, view: View) -> None:
        """The next row is of this image, which lies on the GPU and stays there until the batch is done."""
        height, width, _ = self._kernel.recipe.item_shape
        # As OpenCV divides, twice: its pixels are compared to the bit.
        scales = 1.0 / (height / view.height), 1.0 / (width / view.width)
        steps = () if self._kernel.decoder is None else (view.row, view.column)
        self._table[self.rows] = (view.pointer, view.height, view.width, *scales, *steps)
        self.rows += 1

    def copy_in(self, stream: int) -> None:
        """Table and pixels to the GPU, in one copy."""
        self._table[self.rows : self._filled] = 0
        self._filled = self.rows
        self._device.copy_in(self._pointer, self._host, self._used, stream)

    def put(self, size: int, stream: int) -> None:
        """The kernel makes `size` rows of the input; those without an image become zeros."""
        if self._decoding:
            self._device.wait_in(stream, self._decoded)
        height, width, _ = self._kernel.recipe.item_shape
        grid = (size, -(-height // BLOCK[1]), -(-width // BLOCK[0]))
        pointers = (self._pointer, self._kernel.table, self._address)
        self._device.run(self._kernel.function, grid, (*BLOCK, 1), pointers, stream)

    def close(self) -> None:
        """Gives the memory back; nothing may be under way."""
        self._held.close()


def _rounded(size_bytes: int) -> int:
    return -(-size_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
