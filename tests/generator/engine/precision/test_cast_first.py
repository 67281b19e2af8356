from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from lowering_graphs import of_nodes
from onnx import TensorProto, helper

from generator.engine.inspect import suspicious
from generator.engine.precision.cast_first import cast_first
from generator.engine.runner import OnnxRunner

PHOTOS = onnx.load(Path(__file__).parents[4] / "models" / "photos.onnx")


def test_the_photographs_network_suits_tensorrt_then_and_answers_the_same() -> None:
    changed = cast_first(PHOTOS)
    onnx.checker.check_model(changed, full_check=True)
    assert any(one.code == "TK916" for one in suspicious(PHOTOS, "tensorrt", "fp32"))
    assert not any(one.code == "TK916" for one in suspicious(changed, "tensorrt", "fp32"))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3)).astype(np.uint8)
    before, after = (OnnxRunner(m.SerializeToString()).run({"pixels": pixels})["logits"] for m in (PHOTOS, changed))
    assert np.array_equal(before, after)


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],  # cast at once already
        [helper.make_node("Transpose", ["x"], ["m"]), helper.make_node("Cast", ["m"], ["y"], to=TensorProto.FLOAT16)],
        [helper.make_node("Add", ["x", "x"], ["m"]), helper.make_node("Cast", ["m"], ["y"], to=TensorProto.FLOAT)],
        [helper.make_node("Transpose", ["x"], ["y"])],
    ],
)
def test_what_meets_anything_else_is_left_alone(nodes: list[onnx.NodeProto]) -> None:
    model = of_nodes(nodes, taken=TensorProto.UINT8)
    assert cast_first(model) == model


def test_each_input_is_cast_for_itself() -> None:
    model = helper.make_model(onnx.parser.parse_graph("""g (uint8[2,3] a, uint8[2,3] b, uint8[2,3] c) => (float[3,2] y)
        <float[2,3] z> {
            m = Transpose(a) n = Transpose(b)
            d = Cast<to = 1>(m) e = Cast<to = 1>(n) z = Cast<to = 1>(c) y = Add(d, e)
        }"""))  # fmt: skip
    changed = cast_first(model)
    onnx.checker.check_model(changed, full_check=True)
    assert [(node.op_type, node.input[0]) for node in changed.graph.node][:4] == [
        ("Cast", "b"), ("Cast", "a"), ("Transpose", "a/fp32"), ("Transpose", "b/fp32"),
    ]  # fmt: skip


def test_what_a_branch_reads_is_left_alone() -> None:
    model = helper.make_model(onnx.parser.parse_graph("""g (uint8[2,2] x, bool b) => (float[2,2] y, uint8[2,2] z) {
            m = Transpose(x) y = Cast<to = 1>(m)
            z = If (b) <then_branch = t () => (uint8[2,2] p) { p = Identity(m) },
                        else_branch = e () => (uint8[2,2] q) { q = Identity(m) }>
        }"""))  # fmt: skip
    assert cast_first(model) == model
