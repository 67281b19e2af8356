"""CV-CUDA's ways of gpu_preprocess.py: NVIDIA's operators for batches of images of unequal size, in this process.

The photographs cross in one copy from pinned memory, as they do for our kernel; the operators are put into the same
stream and write into the engine's input itself. Every object that a batch needs is made once and kept: for the
images that is more than a server could do, whose photographs have other sizes each time, so one way wraps them anew.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from gpu_preprocess_pixels import MEAN, SIDE, STD, OnGpu

from tritonkit_runtime.batch import Array
from tritonkit_runtime.device import Kernels

if TYPE_CHECKING:
    from gpu_preprocess_ways import Bench

NAME = "cvcuda"
ANEW = "images wrapped anew"
# On these photographs a grid that is half a pixel off makes several levels in the mean; arithmetic alone hardly any.
MOST_MEAN_LEVELS = 0.5
_ALIGNMENT_BYTES = 256
_NO_FLIP = 2
Operator = Callable[[int, Any], None]  # (size of batch, its images): puts it into the stream


class Lent:
    """Memory of the GPU as CV-CUDA is told of it: nobody else writes there, so it need not wait for any stream."""

    def __init__(self, pointer: int, shape: Sequence[int], dtype: Any) -> None:
        self.__cuda_array_interface__ = {
            "shape": tuple(shape), "typestr": np.dtype(dtype).str, "data": (pointer, False),
            "version": 3, "stream": -1,
        }  # fmt: skip


class Operators:
    """CV-CUDA from the photographs to the input of one engine. `cvcuda` is the package."""

    def __init__(self, cvcuda: Any, device: Kernels, gpu: OnGpu, photos: Sequence[Array]) -> None:
        self.cvcuda, self.device, self.gpu, self.photos = cvcuda, device, gpu, photos
        self.stream = cvcuda.as_stream(gpu.stream)
        ends = list(accumulate(-(-photo.nbytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES for photo in photos))
        self._places, self._ends = [0, *ends[:-1]], ends
        self._host, self._pointer = device.pinned(ends[-1]), device.allocate(ends[-1])
        self._whole = np.ctypeslib.as_array((ctypes.c_ubyte * ends[-1]).from_address(self._host))
        self._kept: dict[tuple[str, int], Any] = {}
        self._normal = [self._constant(np.array(values, np.float32).reshape(1, 1, 1, 3)) for values in (MEAN, STD)]

    def _constant(self, array: Array, layout: str = "NHWC") -> Any:
        """A tensor that stays as it is."""
        host, pointer = self.device.pinned(array.nbytes), self.device.allocate(array.nbytes)
        ctypes.memmove(host, array.ctypes.data, array.nbytes)
        self.device.copy_in(pointer, host, array.nbytes, self.gpu.stream)
        self.device.wait(self.gpu.stream)
        self.device.free_pinned(host)
        return self.cvcuda.as_tensor(Lent(pointer, array.shape, array.dtype), layout)

    def _once(self, what: str, size: int, make: Callable[[], Any]) -> Any:
        found = self._kept.get((what, size))
        if found is None:
            found = self._kept[what, size] = make()
        return found

    def _batch(self, images: Sequence[Any]) -> Any:
        batch = self.cvcuda.ImageBatchVarShape(len(images))
        batch.pushback(list(images))
        return batch

    def _wrapped(self, size: int) -> Any:
        places = zip(self._places, self.photos[:size], strict=False)
        lent = [Lent(self._pointer + place, photo.shape, photo.dtype) for place, photo in places]
        return self._batch([self.cvcuda.as_image(one, self.cvcuda.Format.RGB8) for one in lent])

    def _made(self, size: int) -> Any:
        """The engine's input."""
        layout = "NHWC" if self.gpu.shape[-1] == 3 else "NCHW"
        shape = (size, *self.gpu.shape)
        make = self.cvcuda.as_tensor
        return self._once("made", size, lambda: make(Lent(self.gpu.pointer, shape, self.gpu.dtype), layout))

    def _resized(self, size: int) -> Any:
        image, kind = self.cvcuda.Image, self.cvcuda.Format.RGB8
        return self._once("resized", size, lambda: self._batch([image((SIDE, SIDE), kind) for _ in range(size)]))

    def _into(self, into: Any, images: Any) -> None:
        self.cvcuda.resize_crop_convert_reformat_into(
            into, images, (SIDE, SIDE), self.cvcuda.Interp.LINEAR, (0, 0), stream=self.stream
        )

    def fused(self, size: int, images: Any) -> None:
        """One operator: resized, and laid out as the engine takes it."""
        self._into(self._made(size), images)

    def fused_then_normalised(self, size: int, images: Any) -> None:
        """The same to FP32, then another one."""
        shape = (size, 3, SIDE, SIDE)
        between = self._once("between", size, lambda: self.cvcuda.Tensor(shape, self.cvcuda.Type.F32, "NCHW"))
        self._into(between, images)
        deviation = self.cvcuda.NormalizeFlags.SCALE_IS_STDDEV
        self.cvcuda.normalize_into(self._made(size), between, MEAN, STD, deviation, stream=self.stream)

    def resized_then_fused(self, size: int, images: Any) -> None:
        """Resized alone; the second operator crops, normalises and lays out."""
        rows = [[[[0, 0, SIDE, SIDE]]]] * size
        rect = self._once("rect", size, lambda: self._constant(np.array(rows, np.int32)))
        flip = self._once("flip", size, lambda: self._constant(np.full((size, 1), _NO_FLIP, np.int32), "NC"))
        self.cvcuda.resize_into(self._resized(size), images, self.cvcuda.Interp.LINEAR, stream=self.stream)
        self.cvcuda.crop_flip_normalize_reformat_into(
            self._made(size), self._resized(size), rect, flip, *self._normal,
            flags=self.cvcuda.NormalizeFlags.SCALE_IS_STDDEV, stream=self.stream,
        )  # fmt: skip

    def run(self, operator: Operator, size: int, anew: bool = False) -> None:
        """One batch, from pixels in ordinary memory to the engine's input, which is there then."""
        for place, photo in zip(self._places, self.photos[:size], strict=False):
            self._whole[place : place + photo.nbytes].reshape(photo.shape)[...] = photo
        self.device.copy_in(self._pointer, self._host, self._ends[size - 1], self.gpu.stream)
        operator(size, self._wrapped(size) if anew else self._once("images", size, lambda: self._wrapped(size)))
        self.device.wait(self.gpu.stream)


def _ways(operators: Operators, recipe: str) -> dict[str, tuple[Operator, bool]]:
    """Name -> operator, and whether the images are wrapped anew; none for a recipe that is not compared."""
    fused, normal = "resize_crop_convert_reformat", "crop_flip_normalize_reformat"
    ways: dict[str, dict[str, tuple[Operator, bool]]] = {
        "uint8": {
            f"{NAME}: {fused}": (operators.fused, False),
            f"{NAME}: {fused}, {ANEW}": (operators.fused, True),
        },
        "fp32": {
            f"{NAME}: resize, {normal}": (operators.resized_then_fused, False),
            f"{NAME}: {fused}, normalize": (operators.fused_then_normalised, False),
        },
    }
    return ways.get(recipe, {})


def compared(made: Array, expected: Array) -> dict[str, Any]:
    """How far pixels are apart, in levels of 255; `passed`: they can be those of the same steps."""
    apart = np.abs(made.astype(np.float64) - expected.astype(np.float64))
    if made.dtype != np.uint8:
        apart *= np.array(STD).reshape(1, 3, 1, 1)
    found = {
        "most_levels": float(apart.max()), "mean_levels": float(apart.mean()),
        "above_1_level": float((apart > 1.01).mean()),  # what FP32 makes of one level is one level
    }  # fmt: skip
    return {**found, "passed": found["mean_levels"] <= MOST_MEAN_LEVELS}


def added(cvcuda: Any, bench: Bench) -> dict[str, Any]:
    """Gives `bench` CV-CUDA's ways; of each, how far its pixels are from the CPU's, or why it is left out."""
    found: dict[str, Any] = {"version": getattr(cvcuda, "__version__", None), "ways": {}}
    for recipe, ways in bench.ways.items():
        if recipe not in {"uint8", "fp32"}:
            continue
        try:
            operators = Operators(cvcuda, bench.device, bench.on_gpu[recipe], bench.photos)
        except Exception as error:  # noqa: BLE001 — whatever a library says, the others are measured
            found["ways"][recipe] = {"absent": f"{type(error).__name__}: {error}"}
            continue
        expected = bench.expected(recipe)
        for name, (operator, anew) in _ways(operators, recipe).items():

            def way(
                size: int, operators: Operators = operators, operator: Operator = operator, anew: bool = anew
            ) -> None:
                operators.run(operator, size, anew)

            told = found["ways"][f"{recipe}, {name}"] = _tried(bench, recipe, way, expected)
            if told.get("passed"):
                ways[name] = way
    return found


def _tried(bench: Bench, recipe: str, way: Callable[[int], None], expected: Array) -> dict[str, Any]:
    """What one way makes of every size; nothing of what lay there before can pass for it."""
    gpu = bench.on_gpu[recipe]
    try:
        for size in bench.sizes:
            bench.device.zero(gpu.pointer, expected[:size].nbytes, gpu.stream)
            way(size)
            told = compared(gpu.made(size), expected[:size])
            if not told["passed"]:
                break
    except Exception as error:  # noqa: BLE001 — the same
        return {"absent": f"{type(error).__name__}: {error}"}
    return told
