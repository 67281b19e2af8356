"""An engine on a fake device: y = 2 x + 1 an item, and the sum of the whole batch, padding included."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import numpy as np
from fake_device import FakeDevice

from tritonkit_runtime.buffered.errors import BatchError
from tritonkit_runtime.buffered.shapes import Fixed, Size
from tritonkit_runtime.device.errors import CudaError

X = Fixed("x", "FP32", (3,))
K = Fixed("k", "INT64", ())
Y = Fixed("y", "FP32", (3,))
TOTAL = Fixed("total", "FP32", (1,))
FOUND = Fixed("found", "INT64", (-1,), most_bytes=8 * 64)


class FakeEngine:
    """A BufferedEngine. `refuses`: run says no at that many runs from now; `crashes`: its kernel does."""

    def __init__(
        self, device: FakeDevice, *, recordable: bool = True, batched: bool = True, data: bool = False
    ) -> None:
        self.device = device
        self.inputs: tuple[Fixed, ...] = (X, K)
        self.outputs: tuple[Fixed, ...] = (Y, TOTAL, FOUND) if data else (Y, TOTAL)
        self.recordable, self.batched, self.about = recordable, batched, "the made-up engine"
        self.sessions = 0
        self.warmed: list[int] = []
        self.ran: list[int] = []  # the first k of each batch, in the order in which they were computed
        self.refuses = self.crashes = self.status = -1

    def session(self, stream: int) -> FakeSession:
        self.sessions += 1
        return FakeSession(self)

    def close(self) -> None:
        assert self.sessions == 0


def array(
    address: int, tensor: Fixed, size: Size, batched: bool
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """Memory of the fake device as the tensor in it."""
    block = (ctypes.c_ubyte * tensor.bytes_of(*size)).from_address(address)
    return np.ctypeslib.as_array(block).view(tensor.dtype).reshape(tensor.shape(size.items, batched, size.length))


class FakeSession:
    """A Session."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self.found: tuple[int, ...] = ()

    def warm(self, size: Size, addresses: Mapping[str, int], stream: int) -> None:
        self._addresses = dict(addresses)
        self._engine.warmed.append(size.items)
        self.run(size, stream)

    def run(self, size: Size, stream: int) -> None:
        engine = self._engine
        engine.refuses -= 1
        if engine.refuses == 0:
            raise BatchError("the made-up engine refuses")
        engine.device.kernel(stream, lambda: self._compute(size))

    def _compute(self, size: Size) -> None:
        engine, of = self._engine, self._addresses
        engine.crashes -= 1
        if engine.crashes == 0:
            raise CudaError(f"the kernel failed with {engine.status}", engine.status)
        x, k = (array(of[tensor.name], tensor, size, engine.batched) for tensor in engine.inputs)
        engine.ran.append(int(k.flat[0]))
        array(of["y"], Y, size, engine.batched)[...] = 2 * x + (k[:, None] if engine.batched else k)
        array(of["total"], TOTAL, size, engine.batched)[...] = x.sum()
        if "found" in of:
            places = np.flatnonzero(x[:, 0] > 0)
            ctypes.memmove(of["found"], places.astype(np.int64).ctypes.data, 8 * len(places))
            self.found = (len(places),)

    def shape(self, name: str) -> tuple[int, ...]:
        assert name == "found"
        return self.found

    def close(self) -> None:
        self._engine.sessions -= 1
