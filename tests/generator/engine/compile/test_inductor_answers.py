"""What Inductor's worker holds a module and its package to; it needs no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from generator.engine.compile.inductor import answers


class Found:
    """What a check looks at of a tensor."""

    def __init__(self, dtype: str, *shape: int) -> None:
        self.dtype, self.shape = f"torch.{dtype}", shape


EXPECTED: list[dict[str, Any]] = [
    {"name": "score", "dtype": "float32", "dims": [None, 10]},
    {"name": "label", "dtype": "int64", "dims": None},
]


def test_outputs_that_are_those_of_the_graph() -> None:
    answers.check_outputs((Found("float32", 4, 10), Found("int64", 4, 2, 3)), EXPECTED)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Found("float32", 4, 9), r"`score` is float32 \[4, 9\], and float32 \[\?, 10\] in the ONNX file$"),
        (Found("float16", 4, 10), r"`score` is float16 \[4, 10\], and float32 \[\?, 10\] in the ONNX file$"),
        (Found("float32", 4), r"`score` is float32 \[4\], and float32"),
    ],
)
def test_outputs_that_differ_are_told(found: Found, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        answers.check_outputs((found, Found("int64")), EXPECTED)
    with pytest.raises(ValueError, match=r"`score` is .*; `label` is int32"):
        answers.check_outputs((found, Found("int32")), EXPECTED)


@pytest.mark.parametrize(
    ("names", "outputs", "expected"), [([], (1, 2), ["output_0", "output_1"]), (["y"], 1, ["y"])]
)
def test_names_of_outputs(names: list[str], outputs: Any, expected: list[str]) -> None:
    assert answers.output_names({"outputs": names}, outputs) == expected


def test_another_number_of_outputs() -> None:
    with pytest.raises(ValueError, match="gives 2 outputs, and 1 are named: y"):
        answers.output_names({"outputs": ["y"]}, (1, 2))


class Tensor(np.ndarray[Any, Any]):
    """An array with what the worker asks a tensor for."""

    def float(self) -> Tensor:
        return self.astype(np.float32)  # type: ignore[return-value]

    def isfinite(self) -> Tensor:
        return np.isfinite(self)  # type: ignore[return-value]

    def abs(self) -> Tensor:
        return np.abs(self)  # type: ignore[no-any-return]

    def numel(self) -> int:
        return self.size

    def is_floating_point(self) -> bool:
        return self.dtype.kind == "f"


def tensor(*values: float, dtype: str = "float32") -> Any:
    return np.array(values, dtype).view(Tensor)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_package_that_answers_nan_where_the_module_does_not_does_not_count(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinity at 1 places where the module is finite"):
        answers.difference(tensor(0, bad), tensor(0, 1), "fp32")


def test_where_the_module_is_not_finite_nothing_is_compared() -> None:
    assert answers.difference(tensor(1.0, 2.0), tensor(1.0, NAN), "fp32") == 0
    assert answers.difference(tensor(NAN, INF), tensor(NAN, NAN), "fp32") == 0
    assert answers.difference(tensor(), tensor(), "fp32") == 0


@pytest.mark.parametrize(("precision", "near", "far"), [("fp32", 0.001, 0.02), ("fp16", 0.1, 0.3), ("bf16", 0.5, 2)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_a_package_that_is_off_does_not_count(precision: str, near: float, far: float, scale: float) -> None:
    module = tensor(1 * scale, -10 * scale)
    found = answers.difference(tensor((1 + near) * scale, -10 * scale), module, precision)
    assert found == pytest.approx(near * scale, rel=1e-2)
    with pytest.raises(ValueError, match=r"the package is off by .* where the module answers up to"):
        answers.difference(tensor((1 + far) * scale, -10 * scale), module, precision)


def test_a_label_may_be_another_where_scores_tie() -> None:
    assert answers.difference(tensor(3, 4, dtype="int64"), tensor(3, 1, dtype="int64"), "fp32") == 3


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({"logits": tensor(1)}, "^gives a dict; return a tensor or a tuple of tensors$"),
        (None, "^gives a NoneType; return"),
        ((tensor(1), None), "^gives a NoneType among its outputs; return a tensor or a tuple of tensors$"),
    ],
)
def test_outputs_that_are_no_tensors(outputs: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        answers.check_tensors(outputs, np.ndarray)
    answers.check_tensors((tensor(1), tensor(2)), np.ndarray)
    answers.check_tensors(tensor(1), np.ndarray)


def test_a_package_that_answers_another_shape_does_not_count() -> None:
    with pytest.raises(ValueError, match=r"the package answers \[16, 4\], and the module \[1, 4\]"):
        answers.difference(Found("float32", 16, 4), Found("float32", 1, 4), "fp32")
