"""Graphs of many nodes: four times as many take about four times as long to lower, not sixteen times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import onnx
import pytest
from growth import grows_linearly
from lowering_graphs import of_nodes
from onnx import TensorProto, helper

from generator.engine.precision.cast import cast
from generator.engine.precision.cast_first import cast_first
from generator.engine.precision.quantize import quantize

SMALL, LARGE = 1000, 4000


def moves(count: int) -> onnx.ModelProto:
    names = ["x", *(f"t{i}" for i in range(count))]
    nodes = [helper.make_node("Identity", [names[i]], [names[i + 1]]) for i in range(count)]
    last = helper.make_node("Cast", [names[-1]], ["y"], to=TensorProto.FLOAT)
    return of_nodes([*nodes, last], taken=TensorProto.UINT8)


def casts_in_a_row(count: int) -> onnx.ModelProto:
    nodes, last = [], "x"
    for i in range(count // 2):
        nodes += [
            helper.make_node("Cast", [last], [f"c{i}"], to=TensorProto.FLOAT),
            helper.make_node("Relu", [f"c{i}"], [f"r{i}"]),
            helper.make_node("Cast", [f"r{i}"], [f"u{i}"], to=TensorProto.UINT8),
        ]
        last = f"u{i}"
    nodes.append(helper.make_node("Cast", [last], ["y"], to=TensorProto.FLOAT))
    return of_nodes(nodes, taken=TensorProto.UINT8)


def casts_side_by_side(count: int) -> onnx.ModelProto:
    names = [f"c{i}" for i in range(count)]
    nodes = [helper.make_node("Cast", ["x"], [name], to=TensorProto.FLOAT) for name in names]
    together = helper.make_node("Concat", names, ["y"], axis=0)
    return of_nodes([*nodes, together], taken=TensorProto.UINT8, to=[2 * count, 2])


def convolutions(count: int) -> onnx.ModelProto:
    """Each with a Relu behind it, and weights of its own."""
    names = ["x", *(f"r{i}" for i in range(count - 1)), "y"]
    nodes = []
    for i in range(count):
        nodes.append(helper.make_node("Conv", [names[i], f"w{i}", f"b{i}"], [f"c{i}"], f"conv_{i}"))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [names[i + 1]], f"relu_{i}"))
    weights = {f"w{i}": np.ones((1, 1, 1, 1), np.float32) for i in range(count)}
    weights |= {f"b{i}": np.zeros(1, np.float32) for i in range(count)}
    return of_nodes(nodes, dims=[1, 1, 2, 2], **weights)


@pytest.mark.parametrize("engine", ["onnxruntime", "tensorrt"])
def test_quantising_takes_as_long_as_there_are_layers(engine: Literal["onnxruntime", "tensorrt"]) -> None:
    def quantised(model: onnx.ModelProto) -> int:
        tensors = ["x", *(name for node in model.graph.node for name in node.output)]
        made = quantize(model, dict.fromkeys(tensors, (-1.0, 1.0)), for_engine=engine)
        return [node.op_type for node in made.graph.node].count("QuantizeLinear")

    small, large = convolutions(300), convolutions(1200)
    assert quantised(small) > 300
    assert grows_linearly(lambda: quantised(small), lambda: quantised(large))


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
