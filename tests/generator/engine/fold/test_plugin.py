"""TensorRT's plugin in the place of the standard operator, also after the graph around it was lowered."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import onnx
import pytest
from nms_plugin import PluginRunner
from onnx import TensorProto, helper, numpy_helper

from generator.engine.fold import fold
from generator.engine.fold.nms import OUTPUTS, PREFIX, add_nms
from generator.engine.fold.plugin import with_plugin
from generator.engine.precision import cast, quantized
from generator.engine.runner import OnnxRunner
from generator.engine.validate.ranked import rankings, ties_in_order
from generator.spec.build import Keep

Array = np.ndarray[Any, Any]
NAMES = ("boxes", "scores")
ANCHORS, CLASSES = 60, 4
WANTED: dict[str, Any] = {"max_detections": 12, "iou_threshold": 0.5, "score_threshold": 0.25}


def detector(opset: int = 17) -> onnx.ModelProto:
    """x [batch, 8] → boxes and scores by one matrix each, so that there is something to lower."""
    random = np.random.default_rng(3)
    weights = [
        numpy_helper.from_array(random.uniform(-1, 1, (8, ANCHORS * last)).astype(np.float32), name)
        for last, name in ((4, "w"), (CLASSES, "v"))
    ]
    shapes = [
        numpy_helper.from_array(np.array([-1, ANCHORS, last], np.int64), name)
        for last, name in ((4, "four"), (CLASSES, "classes"))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["flat_boxes"], name="flat_boxes"),
        helper.make_node("Reshape", ["flat_boxes", "four"], ["boxes"], name="boxes"),
        helper.make_node("MatMul", ["x", "v"], ["flat_scores"], name="flat_scores"),
        helper.make_node("Sigmoid", ["flat_scores"], ["shares"], name="shares"),
        helper.make_node("Reshape", ["shares", "classes"], ["scores"], name="scores"),
    ]
    outputs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["batch", ANCHORS, 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", ANCHORS, CLASSES]),
    ]
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])
    graph = helper.make_graph(nodes, "detector", [taken], outputs, [*weights, *shapes])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])


def inputs(items: int = 5) -> Array:
    return np.random.default_rng(7).uniform(-1, 1, (items, 8)).astype(np.float32)


def both(standard: onnx.ModelProto, x: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """What the standard graph answers, and what the one with the plugin does, rows of equal scores in its order."""
    onnx.checker.check_model(standard, full_check=True)
    plugin = with_plugin(standard)
    onnx.checker.check_model(plugin)
    assert list(plugin.graph.output) == list(standard.graph.output)
    runners = OnnxRunner(standard.SerializeToString()), PluginRunner(plugin.SerializeToString())
    first, second = (runner.run({"x": x}) for runner in runners)
    for runner in runners:
        runner.close()
    return first, dict(ties_in_order(first, second, rankings([first])))


def assert_equal(standard: onnx.ModelProto, x: Array) -> dict[str, Array]:
    first, second = both(standard, x)
    assert list(first) == list(second)
    for name, array in first.items():
        assert (second[name].dtype, second[name].shape) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(second[name], array, err_msg=name)
    return first


@pytest.mark.parametrize("opset", [13, 17, 18])
@pytest.mark.parametrize("per_class", [True, False])
def test_the_same_detections(per_class: bool, opset: int) -> None:
    found = assert_equal(add_nms(detector(opset), *NAMES, style="standard", per_class=per_class, **WANTED), inputs())
    assert 0 < found["count"].min() <= found["count"].max() <= 12
    assert len(set(found["label"][found["score"] > 0].tolist())) > 1


@pytest.mark.parametrize(
    "other", [{"iou_threshold": 0.0}, {"iou_threshold": 1.0}, {"score_threshold": 0.75}, {"score_threshold": 0.0},
              {"score_threshold": 0.999}, {"max_detections": 1}, {"max_detections": 300}],
)  # fmt: skip
@pytest.mark.parametrize("per_class", [True, False])
def test_the_same_at_the_ends_of_the_settings(per_class: bool, other: dict[str, Any]) -> None:
    assert_equal(add_nms(detector(), *NAMES, style="standard", per_class=per_class, **{**WANTED, **other}), inputs())


def test_a_score_that_equals_the_threshold_is_none() -> None:
    """The plugin counts it."""
    model = detector()
    runner = OnnxRunner(model.SerializeToString())
    scores = runner.run({"x": inputs(1)})["scores"].reshape(-1)
    runner.close()
    threshold = float(np.sort(scores)[-3])
    found = assert_equal(
        add_nms(model, *NAMES, style="standard", **{**WANTED, "iou_threshold": 1.0, "score_threshold": threshold}),
        inputs(1),
    )
    assert found["count"].tolist() == [[2]]


def test_it_is_the_graph_of_the_style_itself() -> None:
    """Node by node, and without what only the standard operator needed."""
    standard, efficient = (
        add_nms(detector(), *NAMES, style=style, per_class=False, **WANTED) for style in ("standard", "efficient")
    )
    before = standard.SerializeToString(deterministic=True)
    made = with_plugin(standard)
    assert made.SerializeToString(deterministic=True) == efficient.SerializeToString(deterministic=True)
    assert standard.SerializeToString(deterministic=True) == before


def test_a_graph_without_a_suppression_that_was_folded() -> None:
    with pytest.raises(ValueError, match="no suppression"):
        with_plugin(detector())


def folded() -> tuple[onnx.ModelProto, Keep]:
    """With the step's labels outside, and all that was folded kept in FP32, as a build does."""
    parameters = {
        "boxes": "boxes", "scores": "scores", "per_class": True, "labels": ["a", "b", "c", "d"],
        **{f"{word}_output": word for word in OUTPUTS}, **WANTED,
    }  # fmt: skip
    model = detector()
    made = fold(model, {}, {}, nms=parameters).model
    own = {node.name for node in model.graph.node}
    return made, Keep(nodes=[node.name for node in made.graph.node if node.name not in own])


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
def test_the_graph_around_it_may_be_lowered(precision: Literal["fp32", "fp16", "bf16", "int8"]) -> None:
    """The plugin's inputs stay FP32 (its stand-in looks), and what follows it gives the types that it gave."""
    model, keep = folded()
    if precision == "int8":
        ranges = dict.fromkeys(("x", "flat_boxes", "flat_scores", "w", "v"), (-1.0, 1.0))
        lowered = cast(quantized(model, ranges, keep, None, "tensorrt").model, "fp16", keep)
    else:
        lowered = model if precision == "fp32" else cast(model, precision, keep)
    plugin = with_plugin(lowered)
    onnx.checker.check_model(plugin)
    assert list(plugin.graph.output) == list(model.graph.output)
    types = {node.op_type for node in plugin.graph.node}
    assert not types & {"NonMaxSuppression", "TopK", "ScatterND", "GatherND"}
    assert ("QuantizeLinear" in types) == (precision == "int8")
    assert ("Cast" in types) or precision == "fp32"
    names = {name for node in plugin.graph.node for name in node.input}
    left = [tensor.name for tensor in plugin.graph.initializer if tensor.name.startswith(PREFIX)]
    assert left
    assert set(left) <= names
    if precision != "bf16":  # which ONNX Runtime does not compute on a CPU
        assert_equal(lowered, inputs())
