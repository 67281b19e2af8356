"""The ring's fake device with kernels of ours, which run as plain C++ when their turn comes; and an engine on it."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fake_device import FakeDevice
from plain import Library

from tritonkit_runtime.batch import Array
from tritonkit_runtime.buffered.errors import BatchError
from tritonkit_runtime.buffered.shapes import Fixed, Size
from tritonkit_runtime.preprocess.staging import IMAGE, TURNED_IMAGE


@dataclass(frozen=True)
class Launch:
    """What a kernel was started with."""

    function: int
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    pointers: tuple[int, ...]
    stream: int


class FakeGpu(FakeDevice):
    """A Kernels. `launches`: what was put into streams, recordings apart."""

    def __init__(self, seed: int | None = 0, limit_bytes: int = 1 << 40) -> None:
        super().__init__(seed, limit_bytes)
        self.modules: dict[int, Library] = {}
        self.functions: dict[int, Library] = {}
        self.launches: list[Launch] = []

    def facts(self) -> dict[str, str]:
        return {**super().facts(), "cuda": "12.8"}

    def module(self, image: bytes) -> int:
        self._called("module")
        self.modules[handle := self._handle()] = Library(image)
        return handle

    def free_module(self, module: int) -> None:
        self._called("free_module")
        del self.modules[module]

    def function(self, module: int, name: str) -> int:
        self._called("function")
        assert name == "preprocess"
        self.functions[handle := self._handle()] = self.modules[module]
        return handle

    def run(
        self, function: int, grid: tuple[int, int, int], block: tuple[int, int, int], pointers: Sequence[int],
        stream: int,
    ) -> None:  # fmt: skip
        self._called("run")
        self.launches.append(Launch(function, grid, block, tuple(pointers), stream))
        library, kept = self.functions[function], tuple(pointers)

        def compute() -> None:
            assert library in self.modules.values(), "the module was unloaded before its kernel ran"
            kind = next(kind for kind in (IMAGE, TURNED_IMAGE) if kind.itemsize == library.image_bytes)
            self._within(kept[0], grid[0] * kind.itemsize, pinned=False)
            images = (ctypes.c_ubyte * (grid[0] * kind.itemsize)).from_address(kept[0])
            for image in np.ctypeslib.as_array(images).view(kind):
                if image["pixels"]:
                    self._within(*_spanned(image), pinned=False)
            for pointer in kept[1:]:
                self._within(pointer, 1, pinned=False)
            library.run(grid, block, kept)

        self.kernel(stream, compute)


def _spanned(image: Any) -> tuple[int, int]:
    """From which byte on an image lies, and over how many."""
    first, height, width = (int(image[name]) for name in ("pixels", "height", "width"))
    if "row" not in image.dtype.names:
        return first, height * width
    steps = [(height - 1) * int(image["row"]), (width - 1) * int(image["column"])]
    low, high = (first + sum(limit(0, step) for step in steps) for limit in (min, max))
    return low, high - low + 1


class Engine:
    """A BufferedEngine: `pixels` and a number `k` an item -> the pixels as they came, and their sum and k."""

    def __init__(self, device: FakeDevice, item: tuple[int, ...], triton: str = "FP32", *, batched: bool = True,
                 extra: bool = True, recordable: bool = True) -> None:  # fmt: skip
        self.device, self.batched, self.recordable, self.about = device, batched, recordable, "the made-up engine"
        pixels, echo = Fixed("pixels", triton, item), Fixed("echo", triton, item)
        self.inputs: tuple[Fixed, ...] = (pixels, Fixed("k", "INT64", ())) if extra else (pixels,)
        self.outputs: tuple[Fixed, ...] = (echo, Fixed("marks", "INT64", (1,)))
        self.sessions = 0
        self.refuses = -1

    def session(self, stream: int) -> Session:
        self.sessions += 1
        return Session(self)

    def close(self) -> None:
        assert self.sessions == 0


class Session:
    """A Session."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}

    def _array(self, tensor: Fixed, size: Size) -> Array:
        block = (ctypes.c_ubyte * tensor.bytes_of(*size)).from_address(self._addresses[tensor.name])
        return np.ctypeslib.as_array(block).view(tensor.dtype).reshape(tensor.shape(size.items, batched=True))

    def warm(self, size: Size, addresses: Mapping[str, int], stream: int) -> None:
        self._addresses = dict(addresses)
        self.run(size, stream)

    def run(self, size: Size, stream: int) -> None:
        self._engine.refuses -= 1
        if self._engine.refuses == 0:
            raise BatchError("the made-up engine refuses")
        self._engine.device.kernel(stream, lambda: self._compute(size))

    def _compute(self, size: Size) -> None:
        inputs, (echo, marks) = self._engine.inputs, self._engine.outputs[:2]
        self._array(echo, size)[...] = self._array(inputs[0], size)
        padding = self._array(inputs[0], size).reshape(size.items, -1)
        self._array(marks, size)[:, 0] = np.count_nonzero(padding.any(axis=1))
        if len(inputs) > 1:
            self._array(marks, size)[:, 0] += 1000 * self._array(inputs[1], size)

    def shape(self, name: str) -> tuple[int, ...]:
        raise KeyError(name)

    def close(self) -> None:
        self._engine.sessions -= 1
