"""One place in a ring: pinned staging and device buffers for a batch of the largest size, allocated once."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from tritonkit_runtime.batch import Array
from tritonkit_runtime.buffered.engine import BufferedEngine
from tritonkit_runtime.buffered.shapes import Fixed
from tritonkit_runtime.device import Device
from tritonkit_runtime.device.errors import OUT_OF_MEMORY, CudaError, OutOfMemoryError
from tritonkit_runtime.device.held import Held


class Slot:
    """Buffers of all tensors for `largest` items. Raises OutOfMemoryError, and keeps nothing then.

    `staged`: tensor -> its pinned memory as an array [largest, ...]. `addresses`: tensor -> device memory.
    """

    def __init__(self, device: Device, engine: BufferedEngine, largest: int, number: int) -> None:
        self.number, self.engine = number, engine
        self._device, self._largest = device, largest
        self._held = Held()
        self.staged: dict[str, Array] = {}
        self.hosts: dict[str, int] = {}
        self.addresses: dict[str, int] = {}
        self._dirty = {tensor.name: 0 for tensor in engine.inputs}
        self._dirty_device = dict(self._dirty)
        with self._held.or_nothing():
            for word, tensors in (("input", engine.inputs), ("output", engine.outputs)):
                for tensor in tensors:
                    self._allocate(word, tensor)

    def _allocate(self, word: str, tensor: Fixed) -> None:
        device, size = self._device, tensor.bytes_of(self._largest)
        what = f"{word} {tensor.shown(self._largest, self.engine.batched)} of slot {self.number}"
        host = taken(device, device.pinned, size, f"pinned memory of {what}")
        self._held.handle(host, device.free_pinned)
        ctypes.memset(host, 0, size)
        self.hosts[tensor.name] = host
        self.staged[tensor.name] = _array(host, tensor, self._largest, self.engine.batched)
        if device.unified:
            self.addresses[tensor.name] = host
            return
        pointer = taken(device, device.allocate, size, what)
        self.addresses[tensor.name] = self._held.handle(pointer, device.free)

    def zero(self, stream: int) -> None:
        """Makes the inputs on the device zeros, as the staging is."""
        for tensor in self.engine.inputs:
            self._device.zero(self.addresses[tensor.name], tensor.bytes_of(self._largest), stream)

    def pad_staged(self, items: int, size: int) -> None:
        """Rows `items` to `size` of the staging become zeros, where an earlier batch left something.

        So what a batch answers depends on nothing but itself, even of a model that mixes the items of a batch.
        """
        for name, dirty in self._dirty.items():
            if items < (end := min(size, dirty)):
                self.staged[name][items:end] = 0
            self._dirty[name] = items if dirty <= size else dirty

    def pad_device(self, items: int, size: int, stream: int) -> None:
        """The same for the device's buffers, when only `items` rows are copied into them."""
        for tensor in self.engine.inputs:
            dirty = self._dirty_device[tensor.name]
            if items < (end := min(size, dirty)):
                row = tensor.item_bytes
                self._device.zero(self.addresses[tensor.name] + items * row, (end - items) * row, stream)
            self._dirty_device[tensor.name] = items if dirty <= size else dirty

    def wrote(self, items: int) -> None:
        """Notes that so many rows of the staging hold a batch."""
        for dirty in (self._dirty, self._dirty_device):
            for name, rows in dirty.items():
                dirty[name] = max(rows, items)

    def close(self) -> None:
        """Gives all memory back."""
        self.staged.clear()
        self._held.close()


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


def _array(host: int, tensor: Fixed, largest: int, batched: bool) -> Array:
    """Pinned memory as an array; bytes, where the data decides the shape."""
    size = tensor.bytes_of(largest)
    flat: Array = np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(host))
    if tensor.most_bytes is not None:
        return flat
    return flat.view(tensor.dtype).reshape(tensor.shape(largest, batched))
