"""In which precision a graph computes that another tool has made."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from engine_projects import digits_graph
from onnx import TensorProto, helper, numpy_helper

from generator.engine.build.elsewhere.precision import other_precision
from generator.engine.precision import cast
from generator.spec.build import Keep

E4M3 = TensorProto.FLOAT8E4M3FN


def digits() -> onnx.ModelProto:
    return onnx.load_from_string(digits_graph())


def graph(nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], out: int = TensorProto.FLOAT) -> Any:
    """A graph from FP32 `x` [1, 4] to `y`."""
    x, y = (
        helper.make_tensor_value_info(name, kind, [1, 4]) for name, kind in (("x", TensorProto.FLOAT), ("y", out))
    )
    made = helper.make_graph(nodes, "net", [x], [y], weights)
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(made, opset_imports=opsets)


def constant(name: str, values: Any, kind: int = TensorProto.FLOAT) -> onnx.TensorProto:
    array = np.asarray(values, np.float32)
    return helper.make_tensor(name, kind, array.shape, array.ravel().tolist())


def qdq(kind: int | None, weights: str = "w") -> onnx.ModelProto:
    """`x` rounded to a type and multiplied with a matrix; None: without a zero point, which is UINT8."""
    zero = [] if kind is None else ["zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", *zero], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", *zero], ["d"]),
        helper.make_node("MatMul", ["d", weights], ["y"]),
    ]
    given = [constant("scale", 0.1), constant("w", np.eye(4))]
    return graph(nodes, [*given, *([] if kind is None else [constant("zero", 0, kind)])])


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_cast_that_nothing_reads_is_no_half_precision(precision: str) -> None:
    half = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[precision]
    made = digits()
    [given] = [value.name for value in made.graph.input]
    made.graph.node.append(helper.make_node("Cast", [given], ["half"], to=half))
    made.graph.node.append(helper.make_node("Cast", ["half"], ["back"], to=TensorProto.FLOAT))
    assert other_precision(made, precision) == [f"has no layer in {precision}, which the spec asks for"]
    assert other_precision(made, "fp32") == []


def test_casts_on_the_way_are_no_half_precision_either() -> None:
    """There and back before the first layer: it still computes in FP32."""
    made = digits()
    [given] = [value.name for value in made.graph.input]
    for node in made.graph.node:
        node.input[:] = ["back" if name == given else name for name in node.input]
    made.graph.node.insert(0, helper.make_node("Cast", ["half"], ["back"], to=TensorProto.FLOAT))
    made.graph.node.insert(0, helper.make_node("Cast", [given], ["half"], to=TensorProto.FLOAT16))
    assert other_precision(made, "fp16") != []


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_graph_that_was_cast_is_in_half_precision(precision: Any) -> None:
    made = cast(digits(), precision, Keep())
    assert other_precision(made, precision) == []
    assert other_precision(made, "bf16" if precision == "fp16" else "fp16") != []
    assert other_precision(made, "int8") == ["has no operator that quantises, and the spec asks for int8"]


def test_one_layer_in_half_precision_is_enough() -> None:
    """`keep` leaves others as they are."""
    made = cast(digits(), "fp16", Keep(first=3))
    assert other_precision(made, "fp16") == []


def test_weights_may_be_cast_where_they_are_used() -> None:
    half = {"to": TensorProto.FLOAT16}
    nodes = [
        helper.make_node("Cast", ["x"], ["xh"], **half), helper.make_node("Cast", ["w"], ["wh"], **half),
        helper.make_node("MatMul", ["xh", "wh"], ["yh"]),
        helper.make_node("Cast", ["yh"], ["y"], to=TensorProto.FLOAT),
    ]  # fmt: skip
    assert other_precision(graph(nodes, [constant("w", np.eye(4))]), "fp16") == []


def test_without_weights_any_operator_counts() -> None:
    nodes = [helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16), helper.make_node("Relu", ["h"], ["y"])]
    assert other_precision(graph(nodes, [], TensorProto.FLOAT16), "fp16") == []
    assert other_precision(graph([nodes[0], helper.make_node("Identity", ["x"], ["y"])], []), "fp16") != []


@pytest.mark.parametrize(
    ("kind", "word"),
    [(None, "int8"), (TensorProto.INT8, "int8"), (TensorProto.UINT8, "int8"), (E4M3, "fp8")],
)
def test_int8_and_fp8_are_told_apart(kind: int | None, word: str) -> None:
    other = "fp8" if word == "int8" else "int8"
    assert other_precision(qdq(kind), word) == []
    assert other_precision(qdq(kind), other) == [f"is quantised to {word}, and the spec asks for {other}"]
    assert other_precision(qdq(kind), "fp16") == ["is quantised, and the spec asks for fp16"]


def test_one_that_is_both_is_neither() -> None:
    made = qdq(TensorProto.INT8)
    made.graph.node[2].output[0] = "z"
    made.graph.initializer.append(constant("other", 0, E4M3))
    made.graph.node.append(helper.make_node("QuantizeLinear", ["z", "scale", "other"], ["zq"]))
    made.graph.node.append(helper.make_node("DequantizeLinear", ["zq", "scale", "other"], ["y"]))
    for word in ("int8", "fp8"):
        assert other_precision(made, word) == [f"is quantised to fp8 and int8, and the spec asks for {word}"]


def test_quantising_that_nothing_reads_is_none() -> None:
    made = qdq(TensorProto.INT8)
    made.graph.node[2].input[0] = "x"
    assert other_precision(made, "int8") == ["has no operator that quantises, and the spec asks for int8"]


@pytest.mark.parametrize(
    ("operator", "inputs"),
    [
        ("QGemm", ["x", "scale", "zero", "w", "scale", "zero"]),
        ("QAttention", ["x", "w", "w", "scale", "scale"]),
        ("MatMulIntegerToFloat", ["x", "w", "scale", "scale"]),
        ("DynamicQuantizeMatMul", ["x", "w", "scale"]),
        ("DynamicQuantizeLSTM", ["x", "w", "w"]),
        ("QLinearAdd", ["x", "scale", "zero", "w", "scale", "zero"]),
    ],
)
def test_operators_of_onnx_runtime(operator: str, inputs: list[str]) -> None:
    node = helper.make_node(operator, inputs, ["y"], domain="com.microsoft")
    weights = numpy_helper.from_array(np.eye(4, dtype=np.int8), "w")
    made = graph([node], [weights, constant("scale", 0.1), constant("zero", 0, TensorProto.UINT8)])
    assert other_precision(made, "int8") == []
    assert other_precision(made, "fp32") == ["is quantised, and the spec asks for fp32"]
    assert other_precision(made, "fp8") == ["is quantised to int8, and the spec asks for fp8"]


def test_inside_of_a_branch_it_counts_too() -> None:
    made = qdq(TensorProto.INT8)
    inner = helper.make_graph(list(made.graph.node), "then", [], [helper.make_tensor_value_info("y", 1, [1, 4])])
    branch = helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner)
    whole = graph([branch], [*made.graph.initializer, constant("yes", True, TensorProto.BOOL)])
    assert other_precision(whole, "int8") == []
