from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
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
    values = [
        helper.make_tensor_value_info(n, t, [2, 2]) for n, t in (("x", TensorProto.UINT8), ("y", TensorProto.FLOAT))
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:]))
    assert cast_first(model) == model
