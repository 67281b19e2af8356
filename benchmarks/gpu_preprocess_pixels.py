"""Whether the kernel of gpu_preprocess.py gives the pixels of the CPU: levels of 255 between the two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tritonkit_runtime.batch import Array, Batch
from tritonkit_runtime.device import Kernels
from tritonkit_runtime.device.held import Held
from tritonkit_runtime.parameters import Limits, StepSpec, TensorSpec
from tritonkit_runtime.preprocess.kernel import Kernel
from tritonkit_runtime.preprocess.recipe import read
from tritonkit_runtime.preprocess.staging import Staging
from tritonkit_runtime.steps import Chain
from tritonkit_runtime.steps.base import Images

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
SIDE, MOST_LEVELS = 224, 1
_AFTER: dict[str, list[StepSpec]] = {
    "uint8": [],
    "fp32": [StepSpec("normalize", {"mean": MEAN, "std": STD}), StepSpec("channels_first", {})],
    "fp16": [
        StepSpec("normalize", {"mean": MEAN, "std": STD}), StepSpec("channels_first", {}),
        StepSpec("cast", {"to": "fp16"}),
    ],
}  # fmt: skip
RECIPES = tuple(_AFTER)


def steps(recipe: str, method: str = "linear", size: tuple[int, int] = (SIDE, SIDE)) -> list[StepSpec]:
    """The steps from `resize` on."""
    return [StepSpec("resize", {"size": list(size), "method": method}), *_AFTER[recipe]]


def chain(specs: Sequence[StepSpec]) -> Chain:
    """The steps on the CPU, of images of unequal size."""
    return Chain(specs, "images", Limits())


class OnGpu:
    """The kernel of some steps with a staging and an input of `largest` images."""

    def __init__(self, device: Kernels, specs: Sequence[StepSpec], largest: int, channels: int = 3) -> None:
        self.device, self._held = device, Held()
        recipe = read(specs, TensorSpec("images", "UINT8", (-1, -1, channels)), Limits())
        self.kernel = Kernel(device, recipe, "images", Limits().max_pixels)
        self._held.add(self.kernel.close)
        self.shape, self.dtype = recipe.made
        size_bytes = largest * int(np.prod(self.shape)) * self.dtype.itemsize
        self.stream = self._held.handle(device.stream(), device.free_stream)
        self.pointer = self._held.handle(device.allocate(size_bytes), device.free)
        self._host = self._held.handle(device.pinned(size_bytes), device.free_pinned)
        self.staging: Staging = self.kernel.lane(self.pointer, largest, 0)
        self._held.add(self.staging.close)

    def stage(self, images: Sequence[Array]) -> None:
        """Copies the pixels into pinned memory."""
        self.staging.clear()
        for number, image in enumerate(images):
            self.staging.add(image, len(images) - number - 1)

    def run(self, images: Sequence[Array]) -> None:
        """From pixels in ordinary memory to the engine's input, which is there then."""
        self.stage(images)
        self.staging.copy_in(self.stream)
        self.staging.put(len(images), self.stream)
        self.device.wait(self.stream)

    def made(self, items: int) -> Array:
        """What lies in the engine's input, fetched."""
        import ctypes

        size_bytes = items * int(np.prod(self.shape)) * self.dtype.itemsize
        self.device.copy_out(self._host, self.pointer, size_bytes, self.stream)
        self.device.wait(self.stream)
        raw = (ctypes.c_ubyte * size_bytes).from_address(self._host)
        return np.ctypeslib.as_array(raw).view(self.dtype).reshape(items, *self.shape).copy()

    def close(self) -> None:
        """Gives everything back."""
        self._held.close()


def levels(found: Array, expected: Array) -> float:
    """The largest difference, in levels of 255: of normalised values with channels first, of bytes as they are."""
    apart = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    if found.dtype != np.uint8:
        apart *= np.array(STD).reshape(1, 3, 1, 1)
    return float(apart.max(initial=0.0))


def equal(device: Kernels, count: int = 25) -> dict[str, Any]:
    """Kernel and CPU on images of odd and of `count` random sizes; `passed`: no difference above one level."""
    lot = np.random.default_rng(3)
    found: dict[str, Any] = {"images": 0, "exact": 0, "most_levels": 0.0}
    cases = [("fp32", "linear", 3), ("fp16", "linear", 3), ("fp32", "area", 3)]
    cases += [("uint8", method, channels) for method in ("nearest", "linear", "area") for channels in (1, 3)]
    for recipe, method, channels in cases:
        for size in ((SIDE, SIDE), (97, 160)):
            sides = [(1, 1), (SIDE, SIDE), (448, 448), (375, 500), (500, 375), (1, 700), (720, 1280)]
            sides += [(int(h), int(w)) for h, w in lot.integers(1, 900, (count, 2))]
            images = [lot.integers(0, 256, (*side, channels), np.uint8) for side in sides]
            specs = steps(recipe, method, size)
            on_gpu = OnGpu(device, specs, len(images), channels)
            try:
                on_gpu.run(images)
                made = on_gpu.made(len(images))
            finally:
                on_gpu.close()
            expected = chain(specs)(Batch({}, (len(images),)), Images(images, channels))
            for row, wanted in zip(made, expected, strict=True):
                found["images"] += 1
                found["exact"] += int(np.array_equal(row, wanted))
                found["most_levels"] = max(found["most_levels"], levels(row[np.newaxis], wanted[np.newaxis]))
    found["passed"] = found["most_levels"] <= MOST_LEVELS
    return found
