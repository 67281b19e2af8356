"""One place in a ring: pinned staging and device buffers for a batch of the largest size, allocated once.

Batches of every size and length lie at the beginning of the same buffers, packed as the engine wants them, so that
what counts of a buffer is how many of its bytes may hold something of an earlier batch.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import numpy as np

from tritonkit_runtime.batch import Array
from tritonkit_runtime.buffered.engine import BufferedEngine
from tritonkit_runtime.buffered.shapes import Fixed, Size
from tritonkit_runtime.device import Device
from tritonkit_runtime.device.errors import OUT_OF_MEMORY, CudaError, OutOfMemoryError
from tritonkit_runtime.device.held import Held


class Slot:
    """Buffers of all tensors, for the largest of the `sizes`. Raises OutOfMemoryError, and keeps nothing then.

    `staged`: tensor -> its pinned memory as an array [most items, ...] of the greatest length; `at` has it of every
    length. `addresses`: tensor -> device memory. The input `fed` has none that is pinned: something else fills it on
    the device. Nor have the outputs `kept`, which stay there.
    """

    def __init__(
        self, device: Device, engine: BufferedEngine, sizes: Sequence[Size], number: int, *,
        fed: str | None = None, kept: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        self.number, self.engine = number, engine
        self._device = device
        lengths = sorted({size.length for size in sizes})
        self._largest = Size(max(size.items for size in sizes), lengths[-1])
        self._held = Held()
        self._flat: dict[str, Array] = {}
        self.at: dict[int, dict[str, Array]] = {length: {} for length in lengths}
        self.staged = self.at[lengths[-1]]
        self.hosts: dict[str, int] = {}
        self.addresses: dict[str, int] = {}
        self.copied = tuple(tensor for tensor in engine.inputs if tensor.name != fed)
        self.returned = tuple(tensor for tensor in engine.outputs if tensor.name not in kept)
        # What is asked for with every batch is found once: the bytes of one item, by length.
        self._row_bytes = {
            length: tuple((tensor.name, tensor.item_bytes(length)) for tensor in self.copied) for length in lengths
        }
        self._dirty = {tensor.name: 0 for tensor in self.copied}
        self._dirty_device = dict(self._dirty)
        with self._held.or_nothing():
            for word, tensors in (("input", engine.inputs), ("output", engine.outputs)):
                for tensor in tensors:
                    self._allocate(word, tensor, pinned=tensor.name != fed and tensor.name not in kept)

    def _allocate(self, word: str, tensor: Fixed, *, pinned: bool) -> None:
        device, most = self._device, self._largest
        size = tensor.bytes_of(most.items, most.length)
        what = f"{word} {tensor.shown(most.items, self.engine.batched, most.length)} of slot {self.number}"
        if pinned:
            host = taken(device, device.pinned, size, f"pinned memory of {what}")
            self._held.handle(host, device.free_pinned)
            ctypes.memset(host, 0, size)
            self.hosts[tensor.name] = host
            flat: Array = np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(host))
            self._flat[tensor.name] = flat
            for length, arrays in self.at.items():
                arrays[tensor.name] = _array(flat, tensor, Size(most.items, length), self.engine.batched)
            if device.unified:
                self.addresses[tensor.name] = host
                return
        pointer = taken(device, device.allocate, size, what)
        self.addresses[tensor.name] = self._held.handle(pointer, device.free)

    def zero(self, stream: int) -> None:
        """Makes the inputs on the device zeros, as the staging is."""
        for tensor in self.engine.inputs:
            size = tensor.bytes_of(self._largest.items, self._largest.length)
            self._device.zero(self.addresses[tensor.name], size, stream)

    def pad_staged(self, items: int, size: Size) -> None:
        """Rows `items` to those of `size` in the staging become zeros, where an earlier batch left something.

        So what a batch answers depends on nothing but itself, even of a model that mixes the items of a batch.
        """
        for tensor in self.copied:
            begin, end = _gap(self._dirty, tensor, items, size)
            if begin < end:
                self._flat[tensor.name][begin:end] = 0

    def pad_device(self, items: int, size: Size, stream: int) -> None:
        """The same for the device's buffers, when only `items` rows are copied into them."""
        for tensor in self.copied:
            begin, end = _gap(self._dirty_device, tensor, items, size)
            if begin < end:
                self._device.zero(self.addresses[tensor.name] + begin, end - begin, stream)

    def wrote(self, items: int, length: int = 0) -> None:
        """Notes that so many rows of the staging hold a batch."""
        staged, device = self._dirty, self._dirty_device
        for name, row_bytes in self._row_bytes[length]:
            size = items * row_bytes
            staged[name] = max(staged[name], size)
            device[name] = max(device[name], size)

    def close(self) -> None:
        """Gives all memory back."""
        self._flat.clear()
        for arrays in self.at.values():
            arrays.clear()
        self._held.close()


def _gap(dirty: dict[str, int], tensor: Fixed, items: int, size: Size) -> tuple[int, int]:
    """The bytes between `items` rows and the end of a batch of this size that are to become zeros (then noted)."""
    begin, end = tensor.bytes_of(items, size.length), tensor.bytes_of(*size)
    before = dirty[tensor.name]
    dirty[tensor.name] = begin if before <= end else before
    return begin, min(end, before)


def taken(device: Device, allocate: Callable[[int], int], size_bytes: int, what: str) -> int:
    """What `allocate` gives; OutOfMemoryError says what it was for, how much it is, and what is free."""
    try:
        return allocate(size_bytes)
    except CudaError as error:
        if error.status != OUT_OF_MEMORY:
            raise
        free, total = device.memory()
        raise OutOfMemoryError(
            f"there is no room for {what}: it takes {size_bytes:,} bytes, and {free:,} of the GPU's {total:,} are "
            f"free ({error}); a smaller largest batch, fewer slots or fewer instances on this GPU need less"
        ) from error


def _array(flat: Array, tensor: Fixed, size: Size, batched: bool) -> Array:
    """Pinned memory as an array; bytes, where the data decides the shape."""
    if tensor.most_bytes is not None:
        return flat
    return flat[: tensor.bytes_of(*size)].view(tensor.dtype).reshape(tensor.shape(size.items, batched, size.length))
