"""Every size of a plan is asked what it writes before it writes it; with a stand-in for TensorRT's context."""

from __future__ import annotations

from typing import Any

import pytest

from tritonkit_runtime.buffered.shapes import Fixed, Size
from tritonkit_runtime.buffered.tensorrt import TensorRT, TensorRTSession
from tritonkit_runtime.parameters import ParameterError


class Context:
    """Of a plan whose output is as long as its input, but never shorter than `grown`."""

    def __init__(self, grown: int) -> None:
        self.grown, self.shape, self.runs = grown, (0, 0), 0

    def set_input_shape(self, name: str, shape: tuple[int, int]) -> bool:
        self.shape = shape
        return name == "x"

    def get_tensor_shape(self, name: str) -> tuple[int, int]:
        assert name == "y"
        items, length = self.shape
        return items, max(length, self.grown)

    def set_tensor_address(self, name: str, address: int) -> None:
        assert name in ("x", "y")
        assert address

    def execute_async_v3(self, stream: int) -> bool:
        self.runs += 1
        return stream == 7


class Plan(TensorRT):
    """A plan that is loaded already."""

    def __init__(self, context: Context, sizes: list[Size]) -> None:
        self.inputs, self.outputs = (Fixed("x", "FP32", (-1,)),), (Fixed("y", "FP32", (-1,)),)
        self.batched, self.about, self.profiles = True, "the plan m.plan", dict.fromkeys(sizes, 0)
        self._context = context

    def engine_of_a_session(self) -> Any:
        return self

    def context(self, engine: Any, size: Size) -> Any:
        assert engine is self
        self.reshape(self._context, size)
        return self._context


SIZES = [Size(4, 16), Size(1, 16), Size(4, 3), Size(1, 3)]


def warm(grown: int) -> Context:
    context = Context(grown)
    session = TensorRTSession(None, Plan(context, SIZES))
    for size in SIZES:
        session.warm(size, {"x": 1, "y": 2}, stream=7)
    return context


def test_a_plan_whose_outputs_are_as_long_as_its_inputs_is_run_in_every_size() -> None:
    assert warm(grown=0).runs == len(SIZES)


def test_an_output_that_is_longer_in_a_smaller_size_is_refused_before_it_is_written() -> None:
    """At the largest size it fits; at length 3 it would write 8 into a row of 3."""
    with pytest.raises(
        ParameterError,
        match=r"output 'y' of the plan m\.plan is \[4, 8\] for a batch of 4 of length 3, and its .*\[4, 3\]",
    ):
        warm(grown=8)
