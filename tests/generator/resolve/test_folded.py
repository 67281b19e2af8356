"""Layout `folded`: which steps go into the graph, what stays outside, and what is said about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from generator.plan import EngineProgram, ModelPlan, Plan
from generator.problems import Problem, Severity
from generator.resolve.show import as_yaml, full_spec
from generator.workspace import Workspace, open_workspace, render_trees
from generator_projects import FULL as ENSEMBLE
from generator_projects import SHORT, make_project

FOLDED = SHORT.replace("objective", "layout: folded\nobjective", 1)
FULL = ENSEMBLE.replace("name: two\n", "name: two\nlayout: folded\n")


def opened(root: Path, spec: str, target: str = "embedded") -> Workspace:
    return open_workspace(make_project(root / "project", {"spec": spec}), target=target)


def planned(root: Path, spec: str, target: str = "embedded") -> Plan:
    work = opened(root, spec, target)
    work.stop_on_errors()
    [plan] = work.plans[target]
    return plan


def told(work: Workspace, *, severity: Severity = Severity.NOTE) -> list[tuple[str, str]]:
    return [(p.code, p.field) for p in work.problems if p.code.startswith("TK92") and p.severity is severity]


def engine_of(plan: Plan) -> tuple[ModelPlan, EngineProgram]:
    [(model, program)] = [(m, m.program) for m in plan.models if isinstance(m.program, EngineProgram)]
    return model, program


def tensors(model: ModelPlan) -> tuple[list[str], list[str]]:
    inside, outside = ([f"{t.name} {t.describe()}" for t in side] for side in (model.inputs, model.outputs))
    return inside, outside


def test_bytes_in_and_small_answers_out(tmp_path: Path) -> None:
    plan = planned(tmp_path, FOLDED)
    before, engine, after = plan.models
    assert tensors(before) == (
        ["image STRING [1]"],
        ["pixels UINT8 [8, 8, 1]"],
    )
    assert tensors(engine) == (["pixels UINT8 [8, 8, 1]"], ["label_index INT32 [3]", "score FP32 [3]"])
    assert tensors(after) == (["label_index INT32 [3]"], ["label STRING [3]"])
    assert (before.comments, after.comments) == (("Steps: decode -> resize.",), ("Steps: labels.",))
    assert engine.comments[-1] == (
        "Its graph also does the steps normalize -> channels_first before pixels, softmax -> top_k after logits."
    )
    assert plan.ensemble is not None
    assert [(s.inputs, s.outputs) for s in plan.ensemble.steps] == [
        ({"image": "image"}, {"pixels": "pixels"}),
        ({"pixels": "pixels"}, {"label_index": "label_index", "score": "score"}),
        ({"label_index": "label_index"}, {"label": "label"}),
    ]


def test_what_clients_see_is_what_the_ensemble_shows_them(tmp_path: Path) -> None:
    one = planned(tmp_path / "ensemble", SHORT).ensemble
    other = planned(tmp_path / "folded", FOLDED).ensemble
    assert one is not None
    assert other is not None
    assert (one.name, one.inputs, one.outputs, one.max_batch_size) == (
        other.name, other.inputs, other.outputs, other.max_batch_size,
    )  # fmt: skip


def test_the_rendered_graph_is_the_folded_one(tmp_path: Path) -> None:
    work = opened(tmp_path, FOLDED)
    [plan], [tree] = work.plans["embedded"], render_trees(work)
    _, program = engine_of(plan)
    [version] = program.versions
    data = tree.files["small_engine/1/model.onnx"]
    assert data == version.data == version.contents(work.project)
    assert version.sha256 == hashlib.sha256(data).hexdigest()
    assert data != work.project.path("models/net.onnx").read_bytes()
    assert program.fold is not None
    assert set(program.fold.nodes) == {n.name for n in onnx.load_from_string(data).graph.node if n.name}


def test_the_request_for_a_plan_names_the_folded_graph(tmp_path: Path) -> None:
    work = opened(tmp_path, FOLDED, "production")
    [plan], [tree] = work.plans["production"], render_trees(work)
    request = json.loads(tree.files["small_engine/1/engine.request.json"])
    assert request["onnx_sha256"] == engine_of(plan)[1].versions[0].sha256
    assert b"TYPE_UINT8" in tree.files["small_engine/config.pbtxt"]


def test_the_target_chooses_the_layout(tmp_path: Path) -> None:
    spec = SHORT.replace("engine: tensorrt", "layout: folded, engine: tensorrt")
    work = open_workspace(make_project(tmp_path / "project", {"spec": spec}))
    folds = {target: engine_of(plan)[1].fold for target, [plan] in work.plans.items()}
    assert folds["embedded"] is None
    assert folds["production"] is not None


@pytest.mark.parametrize("target", ["embedded", "production"])
@pytest.mark.parametrize("spec", [FOLDED, FULL + 'targets: {production: {server: "26.07", gpu: h200}}\n'])
def test_the_full_form_that_is_shown_renders_to_the_same_files(tmp_path: Path, spec: str, target: str) -> None:
    work = opened(tmp_path, spec, target)
    [resolved], [tree] = work.resolved[target], render_trees(work)
    full = as_yaml(full_spec(resolved.spec, resolved.expanded, resolved.plan), resolved.plan)
    assert ": normalize -> channels_first before pixels, softmax -> top_k after logits.\n" in full
    (work.project.specs / "spec.yaml").write_text(full)
    again = open_workspace(work.project, target=target)
    assert told(again) == []
    assert render_trees(again)[0].files == tree.files


def test_steps_that_go_away_altogether(tmp_path: Path) -> None:
    """Without a file to decode there is nothing left to do outside."""
    spec = FOLDED.replace("{type: bytes}", "{type: uint8, dims: [8, 8, 1]}")
    spec = spec.replace("  - decode: {to: gray}\n  - resize: {size: [8, 8]}\n", "")
    spec = spec.replace(", labels: data/ten.labels", "").replace("type: string", "type: int64")
    plan = planned(tmp_path, spec)
    [engine] = plan.models
    assert tensors(engine) == (["pixels UINT8 [8, 8, 1]"], ["label INT64 [3]", "score FP32 [3]"])
    assert plan.ensemble is not None
    [step] = plan.ensemble.steps
    assert (step.inputs, step.outputs) == ({"pixels": "image"}, {"label": "label", "score": "score"})


def test_one_tensor_behind_the_engine(tmp_path: Path) -> None:
    spec = FOLDED.replace("  - top_k: {k: 3, labels: data/ten.labels}\n", "  - cast: {to: fp16}\n")
    spec = spec.replace(
        "{label: {type: string, dims: [3]}, score: {type: fp32, dims: [3]}}", "{p: {type: fp16, dims: [10]}}"
    )
    plan = planned(tmp_path, spec)
    assert tensors(plan.models[1])[1] == ["logits FP16 [10]"]
    assert plan.ensemble is not None
    assert plan.ensemble.steps[-1].outputs == {"logits": "p"}


def test_the_full_form(tmp_path: Path) -> None:
    plan = planned(tmp_path, FULL)
    assert [model.key for model in plan.models] == ["before", "net"]
    assert tensors(plan.models[1]) == (["pixels UINT8 [8, 8, 1]"], ["label INT64 [1]", "score FP32 [1]"])


@pytest.mark.parametrize(("kept", "models"), [("score", ["before", "net"]), ("label", ["before", "net", "after"])])
def test_a_flow_that_leaves_an_output_out(tmp_path: Path, kept: str, models: list[str]) -> None:
    spec = FULL.replace("  - {model: after}\n", f"  - {{model: after, outputs: {{{kept}: {kept}}}}}\n")
    spec = spec.replace("{label: {type: int64, dims: [1]}, score: {type: fp32, dims: [1]}}",
                        "{score: {type: fp32, dims: [1]}}" if kept == "score" else "{label: {type: string, dims: [1]}}")  # fmt: skip
    spec = spec.replace("steps: [softmax, top_k]", "steps: [softmax, {top_k: {labels: data/ten.labels}}]")
    plan = planned(tmp_path, spec)
    assert [model.key for model in plan.models] == models
    assert plan.ensemble is not None
    assert [t.name for t in plan.ensemble.outputs] == [kept]
    assert {"label_index", "score"} == {t.name for t in plan.models[1].outputs}
    used = plan.ensemble.steps[1].outputs
    assert used == ({"score": "score"} if kept == "score" else {"label_index": "label_index"})


def write(path: Path, nodes: Sequence[onnx.NodeProto], *, opset: int = 17) -> None:
    """A graph with the tensors of models/net.onnx."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        for name, dims in (("pixels", ["batch", 1, 8, 8]), ("logits", ["batch", 10]))
    ]
    graph = helper.make_graph(list(nodes), "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), path)


def test_every_version_is_folded(tmp_path: Path) -> None:
    """Also where a value inside one of them has the name that an output is to get."""
    spec = FOLDED.replace(
        "{onnx: models/net.onnx}", "{onnx: {1: models/net.onnx, 2: models/new.onnx}, versions: {all: true}}"
    )
    project = make_project(tmp_path / "project", {"spec": spec})
    nodes = [helper.make_node("Relu", ["pixels"], ["score"]), helper.make_node("Identity", ["score"], ["logits"])]
    write(project.path("models/new.onnx"), nodes)
    work = open_workspace(project, target="embedded")
    [tree] = render_trees(work)
    one, two = (onnx.load_from_string(tree.files[f"small_engine/{n}/model.onnx"]) for n in (1, 2))
    assert one != two
    assert [v.sha256 for v in engine_of(work.plans["embedded"][0])[1].versions] == [
        hashlib.sha256(tree.files[f"small_engine/{n}/model.onnx"]).hexdigest() for n in (1, 2)
    ]
    for graph in (one.graph, two.graph):
        assert [v.name for v in (*graph.input, *graph.output)] == ["pixels", "label_index", "score"]


def test_a_graph_of_an_old_opset(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", {"spec": FOLDED})
    write(project.path("models/net.onnx"), [helper.make_node("Identity", ["pixels"], ["logits"])], opset=9)
    [problem] = [p for p in open_workspace(project, target="embedded").problems if p.severity is Severity.ERROR]
    assert (problem.code, problem.field) == ("TK922", "model.onnx")
    assert problem.message == "layout `folded`: the graph is of opset 9, and what is folded needs opset 11 or later"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        # Another model reads the logits, too.
        (
            FULL.replace("steps: [{decode: {to: gray}}, {resize: {size: [8, 8]}}, normalize, channels_first]", "steps: [cast: {to: fp32}]")
            .replace("image: {type: bytes}", "image: {type: fp32, dims: [1, 8, 8], reshape: [1, 8, 8]}")
            .replace("outputs: {label:", "outputs: {logits: {type: fp32, dims: [10]}, label:"),
            "layout `folded` finds no arithmetic step next to an engine: "
            "what passes between `after` and `net` is also used elsewhere",
        ),
        ("name: alone\nlayout: folded\ninputs: {pixels: {type: fp32, dims: [1, 8, 8]}}\n"
         "outputs: {logits: {type: fp32, dims: [10]}}\nmodels: {net: {onnx: models/net.onnx}}\n",
         "layout `folded` finds no arithmetic step next to an engine"),
    ],
)  # fmt: skip
def test_nothing_to_fold(tmp_path: Path, spec: str, message: str) -> None:
    work = opened(tmp_path, spec)
    work.stop_on_errors()
    [note] = [p for p in work.problems if p.code == "TK920"]
    assert (note.field, note.message, note.severity) == ("layout", message, Severity.NOTE)
    assert engine_of(work.plans["embedded"][0])[1].fold is None


def test_a_pipeline_without_an_engine(tmp_path: Path) -> None:
    spec = FULL.replace("net: {onnx: models/net.onnx}", "net: {python: m:A, inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}, outputs: {logits: {type: fp32, dims: [10]}}}")  # fmt: skip
    work = opened(tmp_path, spec)
    [problem] = [p for p in work.problems if p.severity is Severity.ERROR]
    assert (problem.code, problem.field) == ("TK924", "layout")
    assert problem.message == "layout `folded` puts steps into an engine's graph; the pipeline has no model of `onnx`"


def test_a_step_that_keeps_others_outside(tmp_path: Path) -> None:
    """fp64 to fp16 is rounded twice in a graph: it stays, and so does what is in front of it."""
    spec = FOLDED.replace(
        "  - normalize: {mean: 0, std: 255}\n",
        "  - normalize: {mean: 0, std: 255}\n  - cast: {to: fp64}\n  - cast: {to: fp16}\n  - cast: {to: fp32}\n",
    )
    work = opened(tmp_path, spec)
    work.stop_on_errors()
    notes = [p for p in work.problems if p.code == "TK921"]
    reason = "behind `cast`, which of fp64 to fp16 is rounded twice in a graph"
    assert [(p.field, p.message) for p in notes] == [
        (f"preprocess[{index}]", f"`{name}` stays outside the graph of `engine`, {reason}")
        for index, name in ((2, "normalize"), (3, "cast"))
    ]
    before, engine, _ = work.plans["embedded"][0].models
    assert before.comments == ("Steps: decode -> resize -> normalize -> cast -> cast.",)
    assert tensors(engine)[0] == ["pixels FP16 [8, 8, 1]"]


def test_steps_between_two_engines_are_the_first_ones(tmp_path: Path) -> None:
    """What it cannot take is left to the second."""
    ten = "{type: fp32, dims: [10]}"
    spec = FULL.replace(
        "  after:\n",
        f"  middle: {{steps: [softmax, {{cast: {{to: fp64}}}}, {{cast: {{to: fp16}}}}, {{cast: {{to: fp32}}}}], "
        f"inputs: {{logits: {ten}}}, outputs: {{again: {ten}}}}}\n  second: {{onnx: models/second.onnx}}\n  after:\n",
    ).replace("inputs: {logits: {type: fp32, dims: [10]}}\nflow:", "inputs: {other: {type: fp32, dims: [10]}}\nflow:")
    spec = spec.replace("  - {model: net}\n", "  - {model: net}\n  - {model: middle}\n  - {model: second}\n")  # fmt: skip
    project = make_project(tmp_path / "project", {"spec": spec})
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 10]) for name in ("again", "other")]
    graph = helper.make_graph([helper.make_node("Relu", ["again"], ["other"])], "g", ends[:1], ends[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), project.path("models/second.onnx")
    )
    work = open_workspace(project, target="embedded")
    work.stop_on_errors()
    by_key = {model.key: model for model in work.plans["embedded"][0].models}
    assert tensors(by_key["net"])[1] == ["logits FP64 [10]"]
    assert by_key["middle"].comments == ("Steps: cast.",)
    assert tensors(by_key["middle"]) == (["logits FP64 [10]"], ["again FP16 [10]"])
    assert tensors(by_key["second"])[0] == ["again FP16 [10]"]


@pytest.mark.parametrize(
    ("said", "field"),
    [("name: other", "name"), ("batching: {max_batch_size: 8}", "batching"), ("parameters: {a: b}", "parameters")],
)
def test_a_model_that_is_in_the_graph_says_nothing_of_its_own(tmp_path: Path, said: str, field: str) -> None:
    work = opened(
        tmp_path, FULL.replace("    steps: [softmax, top_k]\n", f"    steps: [softmax, top_k]\n    {said}\n")
    )
    assert told(work) == [("TK925", f"models.after.{field}")]


def test_warm_ups_of_the_engine(tmp_path: Path) -> None:
    """Zeros fit any tensor; data that was made for the old one does not."""
    kept, gone = (
        "{name: a, inputs: {pixels: {zero: true}}}",
        "{name: b, inputs: {pixels: {zero: true, dims: [1, 8, 8]}}}",
    )
    work = opened(tmp_path, FULL.replace("models/net.onnx}", f"models/net.onnx, warmup: [{kept}, {gone}]}}"))
    assert told(work) == [("TK925", "models.net.warmup[1].inputs.pixels")]
    engine, _ = engine_of(work.plans["embedded"][0])
    assert [w.name for w in engine.warmup] == ["a"]


def test_errors_are_those_of_the_ensemble(tmp_path: Path) -> None:
    """Nothing is folded before the pipeline is right as it is written."""

    def errors(spec: str, root: str) -> list[Problem]:
        return [p for p in opened(tmp_path / root, spec).problems if p.severity is Severity.ERROR]

    for case, (old, new) in enumerate(
        (("size: [8, 8]", "size: [9, 8]"), ("std: 255", "std: [1, 2]"), ("k: 3", "k: 30"))
    ):
        one, other = (
            [(p.code, p.field, p.message) for p in errors(spec.replace(old, new), f"{case}_{number}")]
            for number, spec in enumerate((SHORT, FOLDED))
        )
        assert one == other != []


def test_without_a_batch_axis(tmp_path: Path) -> None:
    spec = FULL.replace("max_batch_size: 4", "max_batch_size: 0").replace("models/net.onnx", "models/one.onnx")
    project = make_project(tmp_path / "project", {"spec": spec})
    ends: Mapping[str, Any] = {"pixels": [1, 8, 8], "logits": [10]}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in ends.items()]
    graph = helper.make_graph([helper.make_node("Identity", ["pixels"], ["logits"])], "g", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), project.path("models/one.onnx"))
    work = open_workspace(project, target="embedded")
    work.stop_on_errors()
    [plan] = work.plans["embedded"]
    assert tensors(plan.models[1]) == (["pixels UINT8 [8, 8, 1]"], ["label INT64 [1]", "score FP32 [1]"])
