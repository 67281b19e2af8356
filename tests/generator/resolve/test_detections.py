"""The step `nms`: the one that takes two of an engine's outputs."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from generator.plan import Plan, StepsProgram
from generator.problems import Problem
from generator.workspace import open_workspace
from generator_projects import make_project

STEP = "nms: {boxes: places, scores: shares, max_detections: 5, labels: data/ten.labels}"
SHORT = f"""\
name: finder
inputs: {{pixels: {{type: fp32, dims: [4]}}}}
outputs:
  boxes: {{type: fp32, dims: [5, 4]}}
  label: {{type: string, dims: [5]}}
  score: {{type: fp32, dims: [5]}}
  count: {{type: int32, dims: [1]}}
model: {{onnx: models/finder.onnx}}
postprocess:
  - {STEP}
"""
FULL = """\
name: finder
inputs: {pixels: {type: fp32, dims: [4]}}
outputs: {boxes: {type: fp32, dims: [5, 4]}, label: {type: int64, dims: [5]}}
models:
  net: {onnx: models/finder.onnx}
  answer:
    steps: [{nms: {boxes: b, scores: s, max_detections: 5}}]
    inputs: {b: {type: fp32, dims: [6, 4]}, s: {type: fp32, dims: [6, 10]}}
flow:
  - {model: net}
  - {model: answer, inputs: {b: places, s: shares}, outputs: {boxes: boxes, label: label}}
"""


def plans(root: Path, text: str, names: tuple[str, str] = ("places", "shares")) -> tuple[list[Plan], list[Problem]]:
    project = make_project(root, {"finder.yaml": text})
    lengths = ([6, 4], [6, 10])
    sums = helper.make_node("ReduceSum", ["pixels"], ["sum"], keepdims=0)
    nodes = [sums, *(helper.make_node("Expand", ["sum", f"shape_{name}"], [name]) for name in names)]
    shapes = [
        helper.make_tensor(f"shape_{name}", TensorProto.INT64, [3], [1, *length])
        for name, length in zip(names, lengths, strict=True)
    ]
    value = helper.make_tensor_value_info
    outputs = [value(n, TensorProto.FLOAT, ["batch", *length]) for n, length in zip(names, lengths, strict=True)]
    inputs = [value("pixels", TensorProto.FLOAT, ["batch", 4])]
    model = helper.make_model(helper.make_graph(nodes, "finder", inputs, outputs, shapes), ir_version=8,
                              opset_imports=[helper.make_opsetid("", 17)])  # fmt: skip
    onnx.save(model, root / "models" / "finder.onnx")
    work = open_workspace(project, target="embedded")
    return list(work.plans.get("embedded", [])), list(work.problems)


def test_the_short_form_gives_it_two_outputs_of_the_engine(tmp_path: Path) -> None:
    [plan], problems = plans(tmp_path, SHORT)
    assert problems == []
    [after] = [model for model in plan.models if model.key == "postprocess"]
    assert [(t.name, t.dtype, t.dims) for t in after.inputs] == [
        ("places", "FP32", (6, 4)),
        ("shares", "FP32", (6, 10)),
    ]
    assert [(t.name, t.dtype, t.dims) for t in after.outputs] == [
        ("boxes", "FP32", (5, 4)), ("label", "STRING", (5,)), ("score", "FP32", (5,)), ("count", "INT32", (1,)),
    ]  # fmt: skip
    assert isinstance(after.program, StepsProgram)
    [(name, arguments)] = after.program.steps
    assert name == "nms"
    assert (arguments["boxes"], arguments["scores"]) == ("places", "shares")
    assert arguments["labels"] == [line.strip() for line in (tmp_path / "data" / "ten.labels").read_text().split()]


def test_an_engines_output_of_a_pipelines_name_gets_another_between_the_models(tmp_path: Path) -> None:
    text = SHORT.replace("boxes: places, scores: shares", "boxes: boxes, scores: score")
    [plan], problems = plans(tmp_path, text, names=("boxes", "score"))
    assert problems == []
    [after] = [model for model in plan.models if model.key == "postprocess"]
    assert [tensor.name for tensor in after.inputs] == ["engine_boxes", "engine_score"]
    assert isinstance(after.program, StepsProgram)
    [(_, arguments)] = after.program.steps
    assert (arguments["boxes"], arguments["scores"]) == ("engine_boxes", "engine_score")
    assert plan.ensemble is not None
    assert plan.ensemble.steps[-1].inputs == {name: name for name in ("engine_boxes", "engine_score")}


def test_the_full_form_declares_them(tmp_path: Path) -> None:
    [plan], problems = plans(tmp_path, FULL)
    assert problems == []
    [after] = [model for model in plan.models if model.key == "answer"]
    assert [tensor.name for tensor in after.inputs] == ["b", "s"]


@pytest.mark.parametrize(
    ("text", "change", "code", "field", "words"),
    [
        (SHORT, ("boxes: places", "boxes: place"), "TK206", "postprocess[0].nms", "has no output `place`"),
        (SHORT, ("boxes: places", "boxes: shares"), "TK206", "postprocess[0].nms", "`nms` takes two tensors"),
        (SHORT, ("boxes: places, scores: shares", "boxes: shares, scores: places"), "TK206", "postprocess[0].nms",
         "`nms` takes boxes [anchors, 4] and scores [anchors, classes]"),
        (SHORT, ("data/ten.labels", "data/none.labels"), "TK206", "postprocess[0].nms", "cannot be read"),
        (SHORT, (f"- {STEP}", f"- {STEP}\n  - softmax"), "TK206", "postprocess[0].nms", "it is the only step"),
        (SHORT, ("postprocess:\n", "postprocess:\n  - softmax\n"), "TK219", "postprocess", "with one output"),
        (SHORT, ("max_detections: 5", "max_detections: 5, score_output: label"), "TK206", "postprocess[0].nms",
         "different names"),
        (SHORT, ("dims: [5, 4]", "dims: [6, 4]"), "TK207", "outputs.boxes", "FP32 [5, 4]"),
        (FULL, (", s: {type: fp32, dims: [6, 10]}", ""), "TK206", "models.answer.steps[0].nms", "gets `b`"),
        (FULL, ("dims: [6, 10]", "dims: [7, 10]"), "TK206", "models.answer.steps[0].nms", "`s` FP32 [7, 10]"),
        (FULL, ("b: {type: fp32", "b: {type: string"), "TK206", "models.answer.steps[0].nms", "`nms` takes numbers"),
    ],
)  # fmt: skip
def test_mistakes_say_what_was_found_and_where(
    tmp_path: Path, text: str, change: tuple[str, str], code: str, field: str, words: str
) -> None:
    assert change[0] in text
    _, problems = plans(tmp_path, text.replace(*change))
    found = [(problem.code, problem.field, problem.message) for problem in problems]
    assert any((c, f) == (code, field) and words in message for c, f, message in found), found
