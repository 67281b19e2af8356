"""Which steps the kernel takes over."""

from __future__ import annotations

from typing import Any

import pytest

from tritonkit_runtime.parameters import Limits, StepSpec, TensorSpec
from tritonkit_runtime.preprocess.errors import NotOnGpuError
from tritonkit_runtime.preprocess.pattern import why_not
from tritonkit_runtime.preprocess.recipe import read

Steps = list[tuple[str, dict[str, Any]]]
DECODE, RESIZE = ("decode", {"to": "rgb"}), ("resize", {"size": [4, 4], "method": "linear"})
LISTS, NUMBERS = ("normalize", {"mean": [1, 2, 3], "std": [1, 2, 3]}), ("normalize", {"mean": 0, "std": 255})
HALF, FLAT = ("cast", {"to": "fp16"}), ("reshape", {"dims": [48]})
FIRST: tuple[str, dict[str, Any]] = ("channels_first", {})


@pytest.mark.parametrize(
    "steps",
    [[RESIZE], [DECODE, RESIZE], [DECODE, RESIZE, LISTS, FIRST, HALF], [RESIZE, HALF, NUMBERS, FIRST, FLAT, NUMBERS, HALF]],
    ids=lambda steps: " ".join(name for name, _ in steps),
)  # fmt: skip
def test_these_it_does(steps: Steps) -> None:
    assert not why_not(steps)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([], "they do not begin with `resize`, or `decode` and `resize`"),
        ([DECODE], "they do not begin with"),
        ([NUMBERS, FIRST], "they do not begin with"),
        ([("tokenize", {})], "they do not begin with"),
        ([DECODE, ("resize", {"size": [4, 4], "method": "cubic"})], "`resize` by method `cubic` has no kernel (there are nearest, linear, area)"),
        ([DECODE, RESIZE, RESIZE], "`resize` has no kernel"),
        ([DECODE, RESIZE, ("softmax", {})], "`softmax` has no kernel"),
        ([DECODE, RESIZE, FIRST, FIRST], "`channels_first` is there twice"),
        ([DECODE, RESIZE, ("reshape", {"dims": [4, 4, 3]}), FIRST], "`channels_first` stands after `reshape`"),
        ([DECODE, RESIZE, ("reshape", {"dims": [16, 3]}), LISTS], "`normalize` with a number a channel stands after `reshape`"),
    ],
)  # fmt: skip
def test_these_it_does_not(steps: Steps, told: str) -> None:
    assert why_not(steps).startswith(told)
    specs = [StepSpec(name, arguments) for name, arguments in steps]
    with pytest.raises(NotOnGpuError):
        read(specs, TensorSpec("x", "STRING", (1,)), Limits())


def test_arrays_whose_channels_nobody_knows() -> None:
    with pytest.raises(NotOnGpuError, match=r"the channels of x UINT8 \[-1, -1, -1\] are not known before it comes"):
        read([StepSpec(*RESIZE)], TensorSpec("x", "UINT8", (-1, -1, -1)), Limits())
