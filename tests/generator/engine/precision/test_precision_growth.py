"""Graphs of many nodes: four times as many take about four times as long to lower, not sixteen times."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest
from growth import grows_linearly
from onnx import TensorProto, helper

from generator.engine.precision.cast import cast
from generator.engine.precision.cast_first import cast_first

SMALL, LARGE = 1000, 4000


def graph(nodes: list[onnx.NodeProto], given: int, rows: int = 2) -> onnx.ModelProto:
    """From `x`, of the type `given`, to FP32 `y`."""
    inputs = [helper.make_tensor_value_info("x", given, [2, 2])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, 2])]
    made = helper.make_graph(nodes, "g", inputs, outputs)
    return helper.make_model(made, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def moves(count: int) -> onnx.ModelProto:
    names = ["x", *(f"t{i}" for i in range(count))]
    nodes = [helper.make_node("Identity", [names[i]], [names[i + 1]]) for i in range(count)]
    return graph([*nodes, helper.make_node("Cast", [names[-1]], ["y"], to=TensorProto.FLOAT)], TensorProto.UINT8)


def casts_in_a_row(count: int) -> onnx.ModelProto:
    nodes, last = [], "x"
    for i in range(count // 2):
        nodes += [
            helper.make_node("Cast", [last], [f"c{i}"], to=TensorProto.FLOAT),
            helper.make_node("Relu", [f"c{i}"], [f"r{i}"]),
            helper.make_node("Cast", [f"r{i}"], [f"u{i}"], to=TensorProto.UINT8),
        ]
        last = f"u{i}"
    return graph([*nodes, helper.make_node("Cast", [last], ["y"], to=TensorProto.FLOAT)], TensorProto.UINT8)


def casts_side_by_side(count: int) -> onnx.ModelProto:
    names = [f"c{i}" for i in range(count)]
    nodes = [helper.make_node("Cast", ["x"], [name], to=TensorProto.FLOAT) for name in names]
    return graph([*nodes, helper.make_node("Concat", names, ["y"], axis=0)], TensorProto.UINT8, 2 * count)


def test_moves_of_bytes_take_as_long_as_they_are_many() -> None:
    small, large = moves(SMALL), moves(LARGE)
    assert [node.op_type for node in cast_first(small).graph.node][:2] == ["Cast", "Identity"]
    assert grows_linearly(lambda: cast_first(small), lambda: cast_first(large))


@pytest.mark.parametrize("shape", [casts_in_a_row, casts_side_by_side])
def test_casts_take_as_long_as_they_are_many(shape: Callable[[int], onnx.ModelProto]) -> None:
    small, large = shape(SMALL), shape(LARGE)
    to = {node.attribute[0].i for node in cast(small, "fp16").graph.node if node.output[0].startswith("c")}
    assert to == {TensorProto.FLOAT16}
    assert grows_linearly(lambda: cast(small, "fp16"), lambda: cast(large, "fp16"))
