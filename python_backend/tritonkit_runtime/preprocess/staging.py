"""The pixels of a batch on their way to the kernel: pinned memory of one lane, and the GPU's memory behind it."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tritonkit_runtime.buffered.slot import taken
from tritonkit_runtime.device.held import Held
from tritonkit_runtime.preprocess.decoder import Decoded, Room, View
from tritonkit_runtime.preprocess.packing import Packing, item_bytes, rounded
from tritonkit_runtime.preprocess.source import BLOCK
from tritonkit_runtime.steps.base import Pixels
from tritonkit_runtime.steps.image_file import Header

if TYPE_CHECKING:
    from tritonkit_runtime.preprocess.kernel import Kernel

# `Image` of the kernel's source, and the same where images may lie there turned.
_FIELDS = [("pixels", "<u8"), ("height", "<i4"), ("width", "<i4"), ("scale_y", "<f8"), ("scale_x", "<f8")]
IMAGE = np.dtype(_FIELDS, align=True)
TURNED_IMAGE = np.dtype([*_FIELDS, ("row", "<i4"), ("column", "<i4")], align=True)


class Staging:
    """Room for one batch, of a lane whose input is at `address`: a table of images, then their pixels; a Fed.

    Allocated once. Images that the GPU has decoded are read where they are: `decode` puts that into a stream of its
    own, which the kernel waits for. Where all others come from memory of other processes, the host's part holds the
    table alone. Raises OutOfMemoryError, and keeps nothing then.
    """

    def __init__(self, kernel: Kernel, address: int, largest: int, number: int) -> None:
        self._kernel, self._device, self._address = kernel, kernel.device, address
        image = IMAGE if kernel.decoder is None else TURNED_IMAGE
        head = rounded(largest * image.itemsize)
        self.size_bytes = head + largest * item_bytes(kernel.recipe.item_shape, kernel.max_pixels)
        self.host_bytes = head if kernel.apart else self.size_bytes
        self._room: Room | None = None
        self._decoding = False
        self._held = Held()
        with self._held.or_nothing():
            device, what = self._device, f"the pixels of {largest} images of slot {number}"
            host = taken(device, device.pinned, self.host_bytes, f"pinned memory of {what}")
            self._host = self._held.handle(host, device.free_pinned)
            self._pointer = self._held.handle(taken(device, device.allocate, self.size_bytes, what), device.free)
            if kernel.decoder is not None:
                self._stream = self._held.handle(device.stream(), device.free_stream)
                self._decoded = self._held.handle(device.event(timed=False), device.free_event)
                self._held.add(lambda: device.wait(self._stream))  # what the room gives back, it gives back there
                self._room = kernel.decoder.room(largest, self._stream)
                self._held.add(self._room.close)
                self._held.add(lambda: device.wait(self._stream))
        whole = np.ctypeslib.as_array((ctypes.c_ubyte * self.host_bytes).from_address(self._host))
        self._packing = Packing(whole, head, self.size_bytes, kernel.recipe)
        self._table = whole[: largest * image.itemsize].view(image)
        self._table[...] = 0
        self._filled, self.rows = 0, 0
        self._brought: list[tuple[int, int, int]] = []  # where to, where from, and bytes

    @property
    def shrunk(self) -> int:
        """Images that had no room and came resized from the CPU."""
        return self._packing.shrunk

    def clear(self) -> None:
        """Begins a batch; the one before must be done."""
        self._packing.clear()
        self._brought.clear()
        if self._decoding:  # of a batch that was never started: its files are let go of with the next decoding
            self._device.wait(self._stream)
        self.rows, self._decoding = 0, False

    def decode(self, files: Sequence[Header]) -> list[Decoded | None]:
        """Puts the decoding of these files on its way; None of those that are left to the CPU. Once a batch."""
        if self._room is None or not files:
            return [None] * len(files)
        self._decoding = True
        found = self._room.decode(files, self._stream)
        self._device.record(self._decoded, self._stream)
        return found

    def add(self, image: Pixels, left: int) -> None:
        """The next row is of this image, UINT8 [H, W, C], which is copied; `left`: so many more may come."""
        place, (height, width, channels) = self._packing.add(image, left)
        self.point(View(self._pointer + place, height, width, width * channels, channels))

    def bring(self, address: int, height: int, width: int) -> None:
        """The next row is of these pixels, in memory of the host that the device copies from by itself.

        They stay as they are until the batch is done. ValueError where there is no room for them.
        """
        channels = self._kernel.recipe.channels
        place = self._packing.taken(size := height * width * channels)
        if place is None:
            raise ValueError(f"there is no room for {width}x{height} pixels more")
        self._brought.append((self._pointer + place, address, size))
        self.point(View(self._pointer + place, height, width, width * channels, channels))

    def skip(self) -> None:
        """The next row has no image: it becomes zeros."""
        self._table[self.rows] = 0
        self.rows += 1

    def point(self, view: View) -> None:
        """The next row is of this image, which lies on the GPU and stays there until the batch is done."""
        height, width, _ = self._kernel.recipe.item_shape
        # As OpenCV divides, twice: its pixels are compared to the bit.
        scales = 1.0 / (height / view.height), 1.0 / (width / view.width)
        steps = () if self._kernel.decoder is None else (view.row, view.column)
        self._table[self.rows] = (view.pointer, view.height, view.width, *scales, *steps)
        self.rows += 1

    def copy_in(self, stream: int) -> None:
        """Table and pixels to the GPU, in one copy, and those that come from elsewhere in one each."""
        self._table[self.rows : self._filled] = 0
        self._filled = self.rows
        self._device.copy_in(self._pointer, self._host, min(self._packing.used, self.host_bytes), stream)
        for place, address, size in self._brought:
            self._device.copy_in(place, address, size, stream)

    def put(self, size: int, stream: int) -> None:
        """The kernel makes `size` rows of the input; those without an image become zeros."""
        if self._decoding:
            self._device.wait_in(stream, self._decoded)
            self._decoding = False
        height, width, _ = self._kernel.recipe.item_shape
        grid = (size, -(-height // BLOCK[1]), -(-width // BLOCK[0]))
        pointers = (self._pointer, self._kernel.table, self._address)
        self._device.run(self._kernel.function, grid, (*BLOCK, 1), pointers, stream)

    def close(self) -> None:
        """Gives the memory back; nothing may be under way."""
        self._held.close()
