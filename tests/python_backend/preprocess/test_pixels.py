"""The kernel's maths, compiled as C++, against the steps of the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from plain import Library, compiled

from tritonkit_runtime.batch import Array, Batch
from tritonkit_runtime.parameters import Limits, StepSpec, TensorSpec
from tritonkit_runtime.preprocess.recipe import Recipe, read
from tritonkit_runtime.preprocess.source import BLOCK, SOURCE
from tritonkit_runtime.preprocess.staging import IMAGE
from tritonkit_runtime.steps import Chain

IMAGENET = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
SIDES = (1, 2, 3, 4, 5, 7, 8, 13, 16, 31, 32, 33, 64, 97, 128, 224, 375, 500)


def steps_of(size: tuple[int, int], method: str, *after: dict[str, Any]) -> list[StepSpec]:
    specs = [{"step": "resize", "size": list(size), "method": method}, *after]
    return [StepSpec(spec["step"], {k: v for k, v in spec.items() if k != "step"}) for spec in specs]


def on_cpu(specs: list[StepSpec], image: Array) -> Array:
    found: Array = Chain(specs, "array", Limits())(Batch({}, (1,)), image[np.newaxis])[0]
    return found


def by_kernel(recipe: Recipe, images: list[Array | None]) -> Array:
    """One launch for all images; the rows of those that are None are padding."""
    height, width, channels = recipe.item_shape
    table = np.zeros(len(images), IMAGE)
    for row, image in enumerate(images):
        if image is not None:
            h, w, _ = image.shape
            table[row] = (image.ctypes.data, h, w, 1.0 / (height / h), 1.0 / (width / w))
    shape = (channels, height, width) if recipe.planar else (height, width, channels)
    made: Array = np.full((len(images), *shape), 77).astype(recipe.table.dtype)
    values = np.ascontiguousarray(recipe.table)
    grid = (len(images), -(-height // BLOCK[1]), -(-width // BLOCK[0]))
    library = Library(compiled(SOURCE, recipe.definitions()))
    library.run(grid, (*BLOCK, 1), (table.ctypes.data, values.ctypes.data, made.ctypes.data))
    return made


def compared(specs: list[StepSpec], channels: int, shapes: list[tuple[int, int]], seed: int) -> None:
    lot = np.random.default_rng(seed)
    images = [lot.integers(0, 256, (*shape, channels), np.uint8) for shape in shapes]
    recipe = read(specs, TensorSpec("x", "UINT8", (-1, -1, channels)), Limits())
    for image, row in zip(images, by_kernel(recipe, list(images)), strict=True):
        np.testing.assert_array_equal(row, on_cpu(specs, image), err_msg=f"{image.shape}")


@pytest.mark.parametrize("method", ["nearest", "linear", "area"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(224, 224), (1, 1), (7, 40), (33, 5), (64, 128)], ids=str)
def test_random_sizes_to_the_bit(method: str, channels: int, size: tuple[int, int]) -> None:
    """Larger and smaller along either side, whole multiples (to which OpenCV has ways of their own) among them."""
    lot = np.random.default_rng([*size, channels])
    shapes = [(int(h), int(w)) for h, w in zip(lot.choice(SIDES, 12), lot.choice(SIDES, 12), strict=True)]
    shapes += [(h, w) for h, w in lot.integers(1, 300, (12, 2)).tolist()]
    shapes += [
        (size[0] * k, size[1] * m)
        for k, m in ((1, 1), (2, 2), (3, 3), (2, 3), (4, 1), (1, 2))
        if k * m * max(size) < 700
    ]
    compared(steps_of(size, method), channels, [*shapes, (1, 1), (1, 300), (300, 1)], seed=channels)


@pytest.mark.parametrize("method", ["nearest", "linear", "area"])
def test_a_photograph_of_many_pixels(method: str) -> None:
    compared(steps_of((224, 160), method), 3, [(3000, 4001), (375, 500)], seed=9)


AFTER: list[list[dict[str, Any]]] = [
    [{"step": "normalize", **IMAGENET}, {"step": "channels_first"}],
    [{"step": "normalize", **IMAGENET}, {"step": "channels_first"}, {"step": "cast", "to": "fp16"}],
    [{"step": "normalize", **IMAGENET}, {"step": "cast", "to": "fp16"}, {"step": "channels_first"}],
    [{"step": "channels_first"}, {"step": "normalize", "mean": 127.5, "std": 127.5}],
    [{"step": "normalize", "mean": 0, "std": 255}],
    [{"step": "channels_first"}],
    [{"step": "cast", "to": "fp16"}, {"step": "normalize", **IMAGENET}, {"step": "cast", "to": "int8"}],
    [{"step": "cast", "to": "fp64"}],
    [{"step": "cast", "to": "bool"}, {"step": "reshape", "dims": [20, 30]}],
    [{"step": "normalize", "mean": 300, "std": 0.001}, {"step": "cast", "to": "fp16"}],
]


@pytest.mark.parametrize("after", AFTER, ids=lambda steps: " ".join(s["step"] + s.get("to", "") for s in steps))
def test_what_comes_after_is_the_steps_own_to_the_bit(after: list[dict[str, Any]]) -> None:
    specs = steps_of((10, 20), "linear", *after)
    lot = np.random.default_rng(4)
    images: list[Array | None] = [lot.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((40, 30), (5, 90))]
    recipe = read(specs, TensorSpec("x", "UINT8", (-1, -1, 3)), Limits())
    for image, row in zip(images, by_kernel(recipe, images), strict=True):
        assert image is not None
        expected = on_cpu(specs, image)
        assert row.dtype == expected.dtype
        assert row.tobytes() == expected.tobytes()


def test_rows_without_an_image_become_zeros() -> None:
    specs = steps_of((6, 9), "linear", {"step": "normalize", **IMAGENET}, {"step": "channels_first"})
    recipe = read(specs, TensorSpec("x", "UINT8", (-1, -1, 3)), Limits())
    image = np.full((4, 4, 3), 200, np.uint8)
    first, middle, last = by_kernel(recipe, [None, image, None])
    assert not first.any()
    assert not last.any()
    np.testing.assert_array_equal(middle, on_cpu(specs, image))
