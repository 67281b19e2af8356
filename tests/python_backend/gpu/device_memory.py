"""Memory of a GPU for tests: filled from arrays, read back, and poisoned when nobody holds it any more."""

from __future__ import annotations

import ctypes
import threading
from typing import Any, cast

import numpy as np

from tritonkit_runtime.batch import Array
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.placed import OnDevice

POISON = 0xA5


class Pool:
    """Blocks of one size class each, which are used again: freed memory that is read must not happen to be right."""

    def __init__(self, device: Cuda) -> None:
        self.device, self._lock = device, threading.Lock()
        self._free: dict[int, list[int]] = {}
        self._all: list[int] = []
        self._stream = device.stream()

    def fill(self, pointer: int, data: bytes) -> None:
        """Puts bytes there, and waits until they are."""
        self.device.use()
        with self._lock:
            block = ctypes.create_string_buffer(data, len(data))
            self.device.copy_in(pointer, ctypes.addressof(block), len(data), self._stream)
            self.device.wait(self._stream)

    def read(self, pointer: int, size: int) -> bytes:
        """What is there now."""
        self.device.use()
        with self._lock:
            block = ctypes.create_string_buffer(size)
            self.device.copy_out(ctypes.addressof(block), pointer, size, self._stream)
            self.device.wait(self._stream)
        return block.raw

    def take(self, size: int) -> int:
        """A block, whatever is in it."""
        self.device.use()
        with self._lock:
            if free := self._free.get(size):
                return free.pop()
            self._all.append(pointer := self.device.allocate(size))
            return pointer

    def give(self, pointer: int, size: int) -> None:
        """Poisons it, for the next one."""
        self.fill(pointer, bytes([POISON]) * size)
        with self._lock:
            self._free.setdefault(size, []).append(pointer)

    def array(self, tensor: Any) -> Array:
        """An OnDevice tensor, read."""
        assert isinstance(tensor, OnDevice)
        return np.frombuffer(self.read(tensor.pointer, tensor.nbytes), tensor.dtype).reshape(tensor.shape)

    def on(self, array: Array) -> Array:
        """The array in memory of its own on the GPU, typed as what it stands for."""
        memory = Memory(self, array)
        return cast("Array", OnDevice(memory.pointer, array.shape, array.dtype, memory))

    def close(self) -> None:
        """Gives all blocks back."""
        self.device.use()
        for pointer in self._all:
            self.device.free(pointer)
        self.device.free_stream(self._stream)


class Memory:
    """A block that holds an array, and poison afterwards."""

    def __init__(self, pool: Pool, array: Array) -> None:
        self._pool, self._size = pool, array.nbytes
        self.pointer = pool.take(array.nbytes)
        pool.fill(self.pointer, array.tobytes())

    def __del__(self) -> None:
        self._pool.give(self.pointer, self._size)
