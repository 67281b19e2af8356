"""What fold leaves as it is, and names that meet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from fold_tools import Step, checked, network, run
from onnx import TensorProto, helper

from generator.engine.errors import StageError
from generator.engine.fold import Before, fold
from generator.engine.fold.graph import names_in

CLONE = Path(__file__).parents[4]
SCALE: list[Step] = [("normalize", {"mean": 1.0, "std": 2.0})]
TOP: list[Step] = [("softmax", {}), ("top_k", {"k": 1, "label_output": "label", "score_output": "score"})]
BYTES = {"x": Before("UINT8", (3,), SCALE)}


def branch(name: str, value: str) -> onnx.GraphProto:
    given = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    return helper.make_graph([helper.make_node("Neg", [value], [name])], f"{name}_graph", [], [given])


def test_the_model_itself_stays_and_the_bytes_are_the_same_each_time() -> None:
    model = network(("FP32", ["batch", 3]))
    before = model.SerializeToString(deterministic=True)
    made = [fold(model, BYTES, {"y": TOP}).model.SerializeToString(deterministic=True) for _ in range(2)]
    assert model.SerializeToString(deterministic=True) == before
    assert made[0] == made[1] != before


def test_names_of_inputs_outputs_and_nodes() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["h"], name="first"),
        helper.make_node("Neg", ["h"], ["y"], name="second"),
    ]
    made = fold(network(("FP32", ["batch", 3]), nodes=nodes), BYTES, {"y": [("softmax", {})]}).model
    assert [i.name for i in made.graph.input] == ["x"]
    assert [o.name for o in made.graph.output] == ["y"]
    assert [n.name for n in made.graph.node if n.name in ("first", "second")] == ["first", "second"]
    assert [d.dim_param or d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim] == ["batch", 3]
    assert made.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8


def test_an_input_that_several_nodes_and_branches_read() -> None:
    """The values inside a branch are the outer graph's, by name."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["yes"], to=TensorProto.BOOL),
        helper.make_node("If", ["yes"], ["z"], then_branch=branch("a", "x"), else_branch=branch("b", "x")),
        helper.make_node("Add", ["x", "z"], ["y"]),
    ]
    model = network(("FP32", ["batch", 3]), nodes=nodes)
    made = fold(model, BYTES, {"y": [("cast", {"to": "int32"})]}).model
    [found] = run(made, np.array([[1, 3, 9]], np.uint8))
    assert (found.dtype, found.tolist()) == (np.dtype(np.int32), [[0, 0, 0]])


def test_an_output_whose_value_is_read_inside() -> None:
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Neg", ["y"], ["other"])]
    model = network(("FP32", ["batch", 3]), nodes=nodes)
    model.graph.output.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, ["batch", 3]))
    made = fold(model, {}, {"y": SCALE}).model
    y, other = run(made, np.array([[1, 2, 3]], np.float32))
    assert y.tolist() == [[-1, -1.5, -2]]
    assert other.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("inner", ["label", "score", "x_0_cast", "y_0_softmax", "y_before"])
def test_values_inside_that_have_a_name_already(inner: str) -> None:
    nodes = [helper.make_node("Relu", ["x"], [inner], name="label"), helper.make_node("Identity", [inner], ["y"])]
    made = fold(network(("FP32", ["batch", 3]), nodes=nodes), BYTES, {"y": TOP})
    assert made.outputs == {"y": ("label", "score")}
    label, _ = run(made.model, np.array([[1, 9, 4]], np.uint8))
    assert label.tolist() == [[1]]
    assert len(names_in(made.model.graph)) > 5


def test_an_output_of_the_engine_that_is_called_score() -> None:
    """It is another tensor than that of top_k, and keeps its name."""
    nodes = [helper.make_node("Neg", ["x"], ["score"]), helper.make_node("Relu", ["x"], ["y"])]
    model = network(("FP32", ["batch", 3]), nodes=nodes)
    model.graph.output.append(helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", 3]))
    made = fold(model, {}, {"y": TOP, "score": TOP})
    assert made.outputs == {"y": ("label", "score_1"), "score": ("label_1", "score_2")}
    values = np.array([[1, 9, 4]], np.float32)
    found = dict(zip([o.name for o in checked(made.model).graph.output], run(made.model, values), strict=True))
    assert (found["label"].tolist(), found["label_1"].tolist()) == ([[1]], [[0]])


def test_an_output_that_is_an_input() -> None:
    model = network(("FP32", ["batch", 3]))
    model.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3]))
    with pytest.raises(StageError, match="TK923 the graph gives `x` without computing it"):
        fold(model, BYTES, {})
    assert fold(model, {}, {"y": SCALE}).model.graph.output[1].name == "x"


def test_several_inputs() -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("a", "b", "y")]
    graph = helper.make_graph([helper.make_node("Sub", ["a", "b"], ["y"])], "g", ends[:2], ends[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    made = fold(model, {"a": Before("UINT8", (2,), SCALE), "b": Before("INT32", (-1,), SCALE)}, {}).model
    checked(made)
    shapes = [[d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim] for i in made.graph.input]
    assert shapes == [["batch", 2], ["batch", "b_0"]]


NMS = {
    "boxes": "x", "scores": "y", "max_detections": 2, "iou_threshold": 0.5, "score_threshold": 0.1, "per_class": True,
    "labels": None, "boxes_output": "b", "label_output": "l", "score_output": "s", "count_output": "c",
}  # fmt: skip


def test_suppression_in_a_graph_that_is_too_old_for_it() -> None:
    with pytest.raises(StageError, match=r"TK923 `nms` cannot be folded: .*opset 12") as raised:
        fold(network(("FP32", ["batch", 3]), opset=12), {}, {}, nms=NMS)
    assert raised.value.findings[0].hint == "use `layout: ensemble`"


def test_the_stage_is_imported_without_onnx() -> None:
    """Its codes are known to every command."""
    code = (
        "import sys, generator.engine.fold as fold, generator.engine.fold.codes\n"
        "print('onnx' in sys.modules, fold.fold.__module__, 'onnx' in sys.modules)\n"
        "try: fold.unfold\nexcept AttributeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CLONE)
    assert done.stdout.splitlines() == [
        "False generator.engine.fold.folding True",
        "module 'generator.engine.fold' has no attribute 'unfold'",
    ]
