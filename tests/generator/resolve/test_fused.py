"""Layout `fused`: one model of a whole flow, and what that means for what was said of its parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from generator.plan import FlowProgram, Plan
from generator.problems import Problem, Severity
from generator.project import Project
from generator.workspace import Workspace, open_workspace, render_trees
from generator_projects import FULL as ENSEMBLE
from generator_projects import SHORT, make_project

FUSED = SHORT.replace("targets:\n", "targets:\n  embedded: {layout: fused}\n")
FLOW = "  - {model: before}\n  - {model: net}\n  - {model: after}\n"
FULL = (
    ENSEMBLE.replace("name: two\n", "name: two\nlayout: fused\n")
    .replace(FLOW, "  - {model: after}\n  - {model: before}\n  - {model: net}\n")
    .replace("max_batch_size: 4}", "max_batch_size: 4, max_queue_delay_us: 100}")
)
OWN = "steps/{}.py:Own, inputs: {{{}: {{type: fp32, dims: [10]}}}}, outputs: {{{}: {{type: fp32, dims: [10]}}}}"


def opened(root: Path, spec: str, target: str = "embedded") -> Workspace:
    project = make_project(root / "project", {"spec": spec})
    for folder in ("steps/a", "steps/b"):
        (project.root / folder).mkdir(parents=True)
        text = f"class Own:  # {folder}\n    def run(self, tensors, fail): return {{}}\n"
        (project.root / folder / "own.py").write_text(text)
    return open_workspace(project, target=target)


def planned(root: Path, spec: str) -> Plan:
    work = opened(root, spec)
    work.stop_on_errors()
    [plan] = work.plans["embedded"]
    return plan


def test_the_engines_of_a_plan_are_its_stages_or_its_models(tmp_path: Path) -> None:
    found = {}
    for name, spec in {"alone": ENSEMBLE, "fused": FULL}.items():
        plan = planned(tmp_path / name, spec)
        found[name] = [(model.name, part.key, program is part.program) for model, part, program in plan.engines()]
    assert found == {"alone": [("two_net", "net", True)], "fused": [("two", "net", True)]}


def errors_of(root: Path, spec: str, target: str = "embedded") -> list[tuple[str, str]]:
    problems = opened(root, spec, target).problems
    return [(p.code, p.field) for p in problems if p.severity is Severity.ERROR]


def notes_of(root: Path, spec: str) -> list[Problem]:
    work = opened(root, spec)
    work.stop_on_errors()
    return [p for p in work.problems if p.code == "TK228"]


def test_one_model_with_the_stages_in_order(tmp_path: Path) -> None:
    plan = planned(tmp_path, FULL)
    [model] = plan.models
    assert plan.ensemble is None
    assert (model.name, model.backend, model.max_batch_size) == ("two", "python", 4)
    assert model.batching is not None
    assert model.batching.max_queue_delay_us == 100
    assert isinstance(model.program, FlowProgram)
    assert [stage.model.key for stage in model.program.stages] == ["before", "net", "after"]
    assert ([t.name for t in plan.inputs], [t.name for t in plan.outputs]) == (["image"], ["label", "score"])


def test_the_files_of_a_fused_pipeline(tmp_path: Path) -> None:
    work = opened(tmp_path, FUSED)
    [tree] = render_trees(work)
    assert set(tree.files) == {f"small/{name}" for name in ("config.pbtxt", *(f"1/{n}" for n in _BESIDE))}
    told: dict[str, Any] = json.loads(tree.files["small/1/tritonkit.json"])
    assert told["program"]["kind"] == "flow"
    assert [s["program"]["kind"] for s in told["program"]["stages"]] == ["steps", "engine", "steps"]
    assert told["program"]["stages"][1]["program"]["file"] == "engine.onnx"
    assert tree.files["small/1/engine.onnx"] == work.project.path("models/net.onnx").read_bytes()


_BESIDE = ("engine.onnx", "model.py", "tritonkit.json")


def test_the_target_chooses_the_layout(tmp_path: Path) -> None:
    plans = open_workspace(make_project(tmp_path / "project", {"spec": FUSED})).plans
    assert [model.name for model in plans["embedded"][0].models] == ["small"]
    assert len(plans["production"][0].models) == 3
    assert plans["production"][0].ensemble is not None


def test_instances_and_what_the_engine_says_of_its_serving(tmp_path: Path) -> None:
    spec = FUSED.replace(
        "{onnx: models/net.onnx}", "{onnx: models/net.onnx, versions: {all: true}, parameters: {a: b}}"
    )
    spec = spec.replace("layout: fused}", "layout: fused, instances: [{kind: cpu, count: 3}]}")
    [model] = planned(tmp_path, spec).models
    assert model.versions is not None
    assert (model.versions.all, model.parameters, model.instance_count()) == (True, {"a": "b"}, 3)


def test_two_files_of_one_name(tmp_path: Path) -> None:
    """From different folders: beside model.py they need two names."""
    spec = FULL.replace("  after:\n", f"  a: {{python: {OWN.format('a/own', 'logits', 'x')}}}\n  after:\n")
    spec = spec.replace("  after:\n", f"  b: {{python: {OWN.format('b/own', 'x', 'y')}}}\n  after:\n")
    spec = spec.replace(
        "inputs: {logits: {type: fp32, dims: [10]}}\nflow:", "inputs: {y: {type: fp32, dims: [10]}}\nflow:"
    )
    spec = spec.replace("  - {model: net}\n", "  - {model: net}\n  - {model: a}\n  - {model: b}\n")
    work = opened(tmp_path, spec)
    [tree] = render_trees(work)
    assert b"steps/a" in tree.files["two/1/a_own.py"]
    assert b"steps/b" in tree.files["two/1/b_own.py"]
    stages = json.loads(tree.files["two/1/tritonkit.json"])["program"]["stages"]
    assert [s["program"].get("file") for s in stages] == [None, "net.onnx", "a_own.py", "b_own.py", None]


def test_a_name_that_an_ensemble_would_have_for_two_models(tmp_path: Path) -> None:
    """The models' names are not in the repository, so they take nothing from the pipeline's."""
    assert errors_of(tmp_path, FULL.replace("{onnx: models/net.onnx}", "{onnx: models/net.onnx, name: two}")) == []


@pytest.mark.parametrize(
    ("said", "field", "hint"),
    [
        ("batching: {max_batch_size: 8}", "models.net.batching", "say `batching` at the top of the spec"),
        ("instances: [{kind: cpu}]", "models.net.instances", "say `instances` at the top of the spec"),
        ("name: other", "models.net.name", "remove it"),
        ("warmup: [{name: w, inputs: {pixels: {zero: true}}}]", "models.net.warmup", "write them for `image`"),
    ],
)
def test_what_has_no_effect_is_noted(tmp_path: Path, said: str, field: str, hint: str) -> None:
    [note] = notes_of(tmp_path, FULL.replace("models/net.onnx}", f"models/net.onnx, {said}}}"))
    assert (note.field, note.hint) == (field, hint)


def test_a_part_that_is_no_engine_is_not_served_for_itself(tmp_path: Path) -> None:
    spec = FULL.replace("    steps: [softmax, top_k]\n", "    steps: [softmax, top_k]\n    parameters: {a: b}\n")
    [note] = notes_of(tmp_path, spec)
    assert note.field == "models.after.parameters"


def test_a_warm_up_of_the_pipelines_own_input(tmp_path: Path) -> None:
    warmup = "warmup: [{name: w, inputs: {image: {file: data/ten.labels}}}]"
    spec = FULL.replace("models/net.onnx}", f"models/net.onnx, {warmup}}}")
    [model] = planned(tmp_path / "fused", spec).models
    assert [w.name for w in model.warmup] == ["w"]
    assert errors_of(tmp_path / "wrong", spec.replace("{image: {file", "{imag: {file")) == [
        ("TK222", "models.net.warmup[0].inputs"),
        ("TK222", "models.net.warmup[0].inputs.imag"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("net: {onnx: models/net.onnx}", "net: {files: models, config: {backend: x}, inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}, outputs: {logits: {type: fp32, dims: [10]}}}", ("TK229", "models.net.files")),
        ("net: {onnx: models/net.onnx}", "net: {python: m:A, batching: {max_batch_size: 0}, inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}, outputs: {logits: {type: fp32, dims: [10]}}}", ("TK229", "models.net.batching")),
        ("layout: fused\n", "layout: fused\nconfig: {parameters: {a: {string_value: b}}}\n", None),
        ("layout: fused\n", "layout: fused\nconfig: {default_model_filename: other.py}\n", ("TK223", "config.default_model_filename")),
        ("layout: fused\n", "layout: fused\nconfig: {model_transaction_policy: {decoupled: true}}\n", ("TK223", "config.model_transaction_policy")),
    ],
)  # fmt: skip
def test_what_cannot_be_fused(tmp_path: Path, old: str, new: str, problem: tuple[str, str] | None) -> None:
    assert errors_of(tmp_path, FULL.replace(old, new)) == ([] if problem is None else [problem])


def test_a_config_given_twice(tmp_path: Path) -> None:
    spec = FULL.replace("models/net.onnx}", "models/net.onnx, config: {parameters: {a: {string_value: b}}}}")
    spec = spec.replace("layout: fused\n", "layout: fused\nconfig: {parameters: {c: {string_value: d}}}\n")
    assert errors_of(tmp_path, spec) == [("TK229", "config")]


def test_a_response_cache_would_keep_errors(tmp_path: Path) -> None:
    """In an ensemble the pipeline's cache is no Python model's; here it is."""
    work = opened(tmp_path, FULL.replace("layout: fused\n", "layout: fused\nresponse_cache: true\n"))
    [problem] = [p for p in work.problems if p.code == "TK225"]
    assert (problem.field, problem.severity) == ("response_cache", Severity.WARNING)


def test_an_image_server_without_a_gpu_runs_the_engine_in_the_python_model(tmp_path: Path) -> None:
    spec = FULL + 'targets: {cpu: {server: "26.07"}}\n'
    [tree] = render_trees(open_workspace(Project(opened(tmp_path, spec).project.root), target="cpu"))
    assert "two/1/net.onnx" in tree.files
    assert b'backend: "python"' in tree.files["two/config.pbtxt"]


@pytest.mark.parametrize("where", ["layout: fused\n", "models/net.onnx}"])
def test_instances_in_tritons_own_words(tmp_path: Path, where: str) -> None:
    """At the top or of the only engine, as in an ensemble."""
    config = "config: {instance_group: [{kind: KIND_CPU, count: 3}]}"
    spec = FULL.replace(where, f"{where}{config}\n" if where.endswith("\n") else f"models/net.onnx, {config}}}")
    work = opened(tmp_path, spec)
    work.stop_on_errors()
    [tree] = render_trees(work)
    assert b"count: 3" in tree.files["two/config.pbtxt"]


@pytest.mark.parametrize("layout", ["fused", "ensemble"])
def test_a_class_in_a_file_called_model_py(tmp_path: Path, layout: str) -> None:
    """That name is the rendered model's own."""
    own = f"  own: {{python: {OWN.format('a/model', 'logits', 'x')}}}\n  after:\n"
    spec = FULL.replace("layout: fused", f"layout: {layout}").replace("  after:\n", own, 1)
    spec = spec.replace(
        "inputs: {logits: {type: fp32, dims: [10]}}\nflow:", "inputs: {x: {type: fp32, dims: [10]}}\nflow:"
    )
    spec = spec.replace("  - {model: net}\n", "  - {model: net}\n  - {model: own}\n")
    project = opened(tmp_path, spec).project
    (project.root / "steps/a/own.py").rename(project.root / "steps/a/model.py")
    work = open_workspace(project, target="embedded")
    work.stop_on_errors()
    [tree] = render_trees(work)
    folder = "two/1" if layout == "fused" else "two_own/1"
    assert b"class Own" in tree.files[f"{folder}/own_model.py"]
    assert b"TritonPythonModel" in tree.files[f"{folder}/model.py"]
    assert b'"own_model.py"' in tree.files[f"{folder}/tritonkit.json"]


BRANCHES = FULL.replace("layout: fused\n", "").replace(
    "outputs: {label:", "outputs: {copy: {type: fp32, dims: [10]}, label:"
).replace("  after:\n", f"  own: {{python: {OWN.format('a/own', 'logits', 'copy')}}}\n  after:\n").replace(
    "  - {model: net}\n", "  - {model: net}\n  - {model: own}\n"
)  # fmt: skip


def test_models_side_by_side_are_warned_about(tmp_path: Path) -> None:
    """`own` and `after` both follow `net`: a failure in one can end Triton 2.51. Fused, there is one model."""
    found = {
        layout: [
            (p.code, p.field, p.severity)
            for p in opened(
                tmp_path / layout, BRANCHES.replace("name: two\n", f"name: two\nlayout: {layout}\n")
            ).problems
        ]
        for layout in ("ensemble", "fused")
    }
    assert found == {"ensemble": [("TK232", "flow", Severity.WARNING)], "fused": []}


def test_one_after_the_other_is_not_warned_about(tmp_path: Path) -> None:
    """However the steps are written down, and where one skips another's tensors."""
    assert opened(tmp_path / "line", FULL.replace("layout: fused", "layout: ensemble")).problems == []
    skips = BRANCHES.replace("own, inputs: {logits: {type: fp32, dims: [10]}}", "x").replace(
        "inputs: {logits: {type: fp32, dims: [10]}}\nflow:", "inputs: {copy: {type: fp32, dims: [10]}}\nflow:"
    )
    assert opened(tmp_path / "skips", skips).problems == []
