from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper

from generator.engine.fold.nms import OUTPUTS, add_nms
from generator.engine.runner import OnnxRunner
from tritonkit_runtime.batch import Batch
from tritonkit_runtime.steps.nms import Nms

Array = np.ndarray[Any, Any]
NAMES = ("boxes", "scores")


def passes_through(anchors: int, classes: int, names: tuple[str, str] = NAMES, opset: int = 17) -> onnx.ModelProto:
    """A graph whose outputs are its two inputs, `in_…`."""
    lengths = {names[0]: (anchors, 4), names[1]: (anchors, classes)}
    nodes = [helper.make_node("Identity", [f"in_{name}"], [name], name=name) for name in names]
    inputs, outputs = (
        [helper.make_tensor_value_info(p + n, TensorProto.FLOAT, ["batch", *lengths[n]]) for n in names]
        for p in ("in_", "")
    )
    graph = helper.make_graph(nodes, "passes", inputs, outputs)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])


def in_the_graph(boxes: Array, scores: Array, *, opset: int = 17, **wanted: Any) -> dict[str, Array]:
    made = add_nms(
        passes_through(boxes.shape[1], scores.shape[2], opset=opset), "boxes", "scores", style="standard", **wanted
    )
    onnx.checker.check_model(made, full_check=True)
    runner = OnnxRunner(made.SerializeToString())
    try:
        return runner.run({"in_boxes": boxes, "in_scores": scores})
    finally:
        runner.close()


def by_the_step(boxes: Array, scores: Array, **wanted: Any) -> dict[str, Array]:
    return Nms(boxes="boxes", scores="scores", **wanted)(Batch({}, (len(boxes),)), {"boxes": boxes, "scores": scores})


def assert_equal(boxes: Array, scores: Array, **wanted: Any) -> dict[str, Array]:
    """Both ways give the same types, shapes and bits; returns them."""
    found, expected = in_the_graph(boxes, scores, **wanted), by_the_step(boxes, scores, **wanted)
    assert list(found) == list(expected) == list(OUTPUTS)
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    return found


# Coordinates and scores of a few values each: overlaps, ties and equal boxes are the rule, not the exception.
corners = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 1e20, np.inf, -np.inf, np.nan])
shares = st.sampled_from([-0.0, 0.0, 0.1, 0.25, 0.3, np.float32(0.3) * 1.0000001, 0.5, 0.9, 1.0, 2.0, np.inf, np.nan])
thresholds = st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.75, 1.0])


@st.composite
def detections(draw: st.DrawFn) -> tuple[Array, Array]:
    items, anchors, classes = (draw(st.integers(1, most)) for most in (3, 7, 3))
    return (
        draw(arrays.arrays(np.float32, (items, anchors, 4), elements=corners.map(np.float32), fill=st.nothing())),
        draw(
            arrays.arrays(np.float32, (items, anchors, classes), elements=shares.map(np.float32), fill=st.nothing())
        ),
    )


@given(
    found=detections(),
    most=st.integers(1, 9),
    iou=thresholds,
    least=st.sampled_from([-1.0, 0.0, 0.3, 0.5]),
    per_class=st.booleans(),
)
@settings(max_examples=300)
def test_graph_and_step_agree_on_edge_cases(
    found: tuple[Array, Array], most: int, iou: float, least: float, per_class: bool
) -> None:
    assert_equal(*found, max_detections=most, iou_threshold=iou, score_threshold=least, per_class=per_class)


@pytest.mark.parametrize("per_class", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_graph_and_step_agree_on_random_boxes(seed: int, per_class: bool) -> None:
    rng = np.random.default_rng(seed)
    start = rng.random((16, 300, 2), np.float32) * 40
    boxes = np.concatenate([start, start + rng.random((16, 300, 2), np.float32) * 16], axis=2)
    scores = rng.random((16, 300, 5), np.float32) ** 4
    scores[3:6] = np.round(scores[3:6], 1)  # ties
    scores[7] = 0
    found = assert_equal(
        boxes, scores, max_detections=20, iou_threshold=0.4, score_threshold=0.5, per_class=per_class
    )
    assert found["count"][7, 0] == 0
    assert len(set(found["count"][:, 0].tolist())) > 1 or found["count"].max() == 20
    assert (np.diff(found["score"], axis=1) <= 0).all()


@pytest.mark.parametrize("per_class", [True, False])
def test_graph_and_step_agree_where_the_best_hundreds_all_overlap(per_class: bool) -> None:
    """So that the step has to look at more candidates than it looks at together."""
    rng = np.random.default_rng(9)
    start = np.concatenate([rng.random((3, 900, 2)) * 3, rng.random((3, 100, 2)) * 300], axis=1)
    boxes = np.concatenate([start, start + 20], axis=2).astype(np.float32)
    scores = np.concatenate([0.5 + rng.random((3, 900, 2)) / 2, rng.random((3, 100, 2)) / 2], axis=1)
    found = assert_equal(
        boxes, scores.astype(np.float32), max_detections=30, iou_threshold=0.2, score_threshold=0.0,
        per_class=per_class,
    )  # fmt: skip
    assert (found["score"][:, 2] > 0).all()
    assert found["count"].min() > 20


@pytest.mark.parametrize("opset", [13, 17, 18, 20])
@pytest.mark.parametrize("per_class", [True, False])
def test_every_opset_has_its_form(opset: int, per_class: bool) -> None:
    boxes = np.array([[[0, 0, 4, 4], [0, 0, 4, 3], [8, 8, 9, 9]]], np.float32)
    scores = np.array([[[0.5, 0.1], [0.1, 0.9], [0.4, 0.4]]], np.float32)
    found = in_the_graph(
        boxes, scores, opset=opset, max_detections=4, iou_threshold=0.5, score_threshold=0.2, per_class=per_class
    )
    wanted = [[1, 0, 0, 1], [0.9, 0.5, 0.4, 0.4], [4]] if per_class else [[1, 0, 0, 0], [0.9, 0.4, 0, 0], [2]]
    assert found["label"][0].tolist() == wanted[0]
    assert found["score"][0].tolist() == np.array(wanted[1], np.float32).tolist()
    assert found["count"][0].tolist() == wanted[2]


EDGES = {
    "no detection": (np.tile([0.0, 0, 1, 1], (3, 1)), np.full((3, 2), 0.1), 0),
    "all overlap": (np.tile([0.0, 0, 1, 1], (5, 1)), np.tile([0.9, 0.0], (5, 1)), 1),
    "two classes in one place": (np.tile([0.0, 0, 1, 1], (5, 1)), np.full((5, 2), 0.9), 2),
    "NaN scores": (np.array([[0.0, 0, 1, 1], [5, 5, 6, 6]]), np.array([[np.nan, np.nan], [0.4, np.nan]]), 1),
    "boxes without an area": (np.tile([2.0, 2, 2, 5], (3, 1)), np.array([[0.9, 0.0], [0.8, 0], [0.7, 0]]), 3),
    "corners the other way round": (np.array([[0.0, 0, 4, 4], [4, 4, 0, 0]]), np.full((2, 1), 0.9), 1),
    "more than the most": (np.arange(24.0).reshape(6, 4) * 10 % 97, np.full((6, 3), 0.7), 8),
    "as few anchors as can be": (np.array([[0.0, 0, 1, 1]]), np.array([[0.9]]), 1),
}


@pytest.mark.parametrize("case", EDGES)
def test_edges_have_the_stated_counts(case: str) -> None:
    boxes, scores, count = EDGES[case]
    found = assert_equal(
        boxes.astype(np.float32)[None], scores.astype(np.float32)[None],
        max_detections=8, iou_threshold=0.5, score_threshold=0.3,
    )  # fmt: skip
    assert found["count"].tolist() == [[count]]
    for name in ("boxes", "label", "score"):
        assert not found[name][0, count:].any(), name


def test_other_outputs_stay_and_a_second_run_gives_the_same_bytes() -> None:
    model = passes_through(3, 2)
    model.graph.output.append(helper.make_tensor_value_info("size", TensorProto.INT64, [3]))
    model.graph.node.append(helper.make_node("Shape", ["boxes"], ["size"]))
    wanted: dict[str, Any] = {"max_detections": 4, "iou_threshold": 0.5, "score_threshold": 0.3, "style": "standard"}
    before = model.SerializeToString(deterministic=True)
    first, second = (add_nms(model, "boxes", "scores", **wanted) for _ in range(2))
    assert model.SerializeToString(deterministic=True) == before
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert [value.name for value in first.graph.output] == [*OUTPUTS, "size"]
    runner = onnxruntime.InferenceSession(first.SerializeToString(), providers=["CPUExecutionProvider"])
    zeros = {"in_boxes": np.zeros((2, 3, 4), np.float32), "in_scores": np.zeros((2, 3, 2), np.float32)}
    assert runner.run(["size"], zeros)[0].tolist() == [2, 3, 4]


def test_efficient_is_one_plugin_node_with_outputs_of_the_same_form() -> None:
    model = passes_through(6, 3)
    wanted: dict[str, Any] = {"max_detections": 4, "iou_threshold": 0.25, "score_threshold": 0.5}
    standard = add_nms(model, "boxes", "scores", style="standard", **wanted)
    efficient = add_nms(model, "boxes", "scores", style="efficient", **wanted)
    assert list(efficient.graph.output) == list(standard.graph.output)
    [plugin] = [node for node in efficient.graph.node if node.op_type == "EfficientNMS_TRT"]
    assert plugin.domain in {opset.domain for opset in efficient.opset_import}
    assert list(plugin.input) == ["nms/before/boxes", "scores"]
    attributes = {a.name: helper.get_attribute_value(a) for a in plugin.attribute}
    overlap = np.float32(attributes.pop("iou_threshold"))
    assert attributes == {
        "background_class": -1, "box_coding": 0, "max_output_boxes": 4,
        "plugin_version": b"1", "score_activation": 0, "score_threshold": 0.5,
    }  # fmt: skip
    # The plugin drops what overlaps by its threshold or more, the operator what overlaps by more than its own.
    assert np.float32(0.25) < overlap
    assert overlap == np.nextafter(np.float32(0.25), np.float32(1))
    onnx.checker.check_model(efficient)
    agnostic = add_nms(model, "boxes", "scores", style="efficient", per_class=False, **wanted)
    [plugin] = [node for node in agnostic.graph.node if node.op_type == "EfficientNMS_TRT"]
    assert {"class_agnostic": 1}.items() <= {a.name: helper.get_attribute_value(a) for a in plugin.attribute}.items()


@pytest.mark.parametrize(("per_class", "threshold"), [(True, np.nextafter(np.float32(1), np.float32(2))), (False, 1)])
def test_the_classes_of_one_anchor_overlap_wholly(per_class: bool, threshold: float) -> None:
    """Together, one of them has to go whatever the threshold is; apart, nothing goes at 1."""
    model = add_nms(
        passes_through(6, 3), "boxes", "scores", max_detections=3, iou_threshold=1.0, score_threshold=0.5,
        style="efficient", per_class=per_class,
    )  # fmt: skip
    [plugin] = [node for node in model.graph.node if node.op_type == "EfficientNMS_TRT"]
    found = next(a.f for a in plugin.attribute if a.name == "iou_threshold")
    assert found == threshold


def test_what_follows_the_plugin_zeroes_what_is_no_detection() -> None:
    """The plugin cannot run here: its place is taken by inputs of its outputs' names.

    There is rubbish beyond the count, a score that equals the threshold, and one far below, as of the plugin's way
    with low thresholds.
    """
    model = add_nms(
        passes_through(6, 3), "boxes", "scores", max_detections=3, iou_threshold=0.5, score_threshold=0.5,
        style="efficient",
    )  # fmt: skip
    [index] = [i for i, node in enumerate(model.graph.node) if node.op_type == "EfficientNMS_TRT"]
    names = list(model.graph.node[index].output)
    del model.graph.node[index], model.graph.input[:]
    del model.graph.node[:2]
    kinds = (
        (TensorProto.INT32, [1]),
        (TensorProto.FLOAT, [3, 4]),
        (TensorProto.FLOAT, [3]),
        (TensorProto.INT32, [3]),
    )
    model.graph.input.extend(
        helper.make_tensor_value_info(name, dtype, ["batch", *dims])
        for name, (dtype, dims) in zip(names, kinds, strict=True)
    )
    raw = (
        np.array([[2], [0], [3], [1]], np.int32), np.full((4, 3, 4), np.nan, np.float32),
        np.array([[0.9, 0.8, 7.0], [7, 7, 7], [0.6, 0.5, -32768], [0.5, 7, 7]], np.float32),
        np.array([[4, 5, -1], [-1, -1, -1], [6, 7, 8], [9, 9, 9]], np.int32),
    )  # fmt: skip
    raw[1][0, :2] = [[0, 0, 1, 1], [2, 2, 3, 3]]
    raw[1][2, 0] = [4, 4, 5, 5]
    runner = OnnxRunner(model.SerializeToString())
    found = runner.run(dict(zip(names, raw, strict=True)))
    assert found["count"].tolist() == [[2], [0], [1], [0]]
    assert found["label"].tolist() == [[4, 5, 0], [0, 0, 0], [6, 0, 0], [0, 0, 0]]
    scores = np.array([[0.9, 0.8, 0], [0, 0, 0], [0.6, 0, 0], [0, 0, 0]], np.float32)
    np.testing.assert_array_equal(found["score"], scores)
    nothing = [[0, 0, 0, 0]] * 3
    assert found["boxes"].tolist() == [
        [[0, 0, 1, 1], [2, 2, 3, 3], [0, 0, 0, 0]], nothing, [[4, 4, 5, 5], *nothing[1:]], nothing
    ]  # fmt: skip


def test_a_graph_inside_a_node_sees_the_renamed_tensor() -> None:
    model = passes_through(2, 2)
    branch = helper.make_graph(
        [helper.make_node("ReduceMax", ["boxes"], ["most"], keepdims=0)], "branch", [],
        [helper.make_tensor_value_info("most", TensorProto.FLOAT, [])],
    )  # fmt: skip
    truth = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    model.graph.node.append(helper.make_node("Constant", [], ["yes"], value=truth))
    model.graph.node.append(helper.make_node("If", ["yes"], ["far"], then_branch=branch, else_branch=branch))
    model.graph.output.append(helper.make_tensor_value_info("far", TensorProto.FLOAT, []))
    made = add_nms(
        model, "boxes", "scores", max_detections=2, iou_threshold=0.5, score_threshold=0.3, style="standard"
    )
    boxes = np.arange(8, dtype=np.float32).reshape(1, 2, 4)
    runner = OnnxRunner(made.SerializeToString())
    assert runner.run({"in_boxes": boxes, "in_scores": np.zeros((1, 2, 2), np.float32)})["far"] == 7


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"boxes": "corners"}, r"the graph has no output `corners`; it has `boxes`, `scores`"),
        ({"outputs": ("in_boxes", "a", "b", "c")}, r"the graph has a tensor `in_boxes` already"),
        ({"boxes": "scores", "scores": "boxes"}, r"suppression takes \[batch, anchors, 4\] and"),
        ({"model": passes_through(3, 2, opset=12)}, r"the graph has opset 12; suppression needs 13 or later"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(change: dict[str, Any], sentence: str) -> None:
    arguments: dict[str, Any] = {"model": passes_through(3, 2), "boxes": "boxes", "scores": "scores"} | change
    with pytest.raises(ValueError, match=sentence):
        add_nms(**arguments, max_detections=4, iou_threshold=0.5, score_threshold=0.3, style="standard")


def test_unknown_lengths_are_refused() -> None:
    model = passes_through(3, 2)
    model.graph.output[1].type.tensor_type.shape.dim[2].dim_param = "classes"
    with pytest.raises(ValueError, match="`scores` must be FP32"):
        add_nms(model, "boxes", "scores", max_detections=4, iou_threshold=0.5, score_threshold=0.3, style="standard")
