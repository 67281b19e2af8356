"""Every mistake that the resolver finds: one change to a good spec, the code, and where it points."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.problems import Problem, Severity
from generator.resolve.codes import CODES
from generator.workspace import open_workspace
from generator_projects import FULL, SHORT, make_project, write_onnx

# (what is changed, into what, code, field path)
SHORT_MISTAKES = [
    ("models/net.onnx", "models/none.onnx", "TK201", "model.onnx"),
    ("data/ten.labels", "data/none.labels", "TK206", "postprocess[1].top_k"),
    ("models/net.onnx", "data/ten.labels", "TK202", "model.onnx"),
    ("models/net.onnx", "models/fixed.onnx", "TK205", "model.onnx"),
    ("models/net.onnx", "{1: models/fixed.onnx, 2: models/net.onnx}", "TK231", "model.onnx.1"),
    ("models/net.onnx", "{1: models/net.onnx, 2: models/none.onnx}", "TK201", "model.onnx.2"),
    ("models/net.onnx", "models/scalar.onnx", "TK205", "model.onnx"),
    ("models/net.onnx", "models/double.onnx", "TK219", "preprocess"),
    ("size: [8, 8]", "size: [16, 16]", "TK204", "preprocess"),
    ("  - resize: {size: [8, 8]}\n", "", "TK206", "preprocess[1].normalize"),
    ("  - decode: {to: gray}\n", "", "TK206", "preprocess[0].resize"),
    ("mean: 0", "mean: [0, 1]", "TK206", "preprocess[2].normalize"),
    ("k: 3", "k: 11", "TK206", "postprocess[1].top_k"),
    ("  - softmax\n", "  - top_k\n", "TK206", "postprocess[0].top_k"),
    ("score: {type: fp32, dims: [3]}", "score: {type: fp32, dims: [5]}", "TK207", "outputs.score"),
    ("label: {type: string", "labels: {type: string", "TK207", "outputs"),
    ("{image: {type: bytes}}", "{image: {type: bytes}, more: {type: bytes}}", "TK219", "inputs"),
    ('server: "26.07"', 'server: "31.01"', "TK213", "targets.production.server"),
    ("engine: tensorrt, precision: fp16", "precision: fp8", "TK221", "targets.production"),
    ("targets:\n", "targets:\n  embedded: {gpu: t4}\n", "TK213", "targets.embedded.gpu"),
    ("gpu: h200}", "gpu: h200, batching: {max_batch_size: 4}}", "TK214", "targets.production.batching"),
    ("gpu: h200}", "gpu: h200, layout: fused, instances: [{kind: cpu}]}", "TK229", "targets.production.layout"),
    ("instances: [{kind: gpu, count: 2}]\n", "layout: fused\ninstances: [{kind: cpu}]\n", "TK229", "layout"),
]
FULL_MISTAKES = [
    ("{model: net}", "{model: nett}", "TK208", "flow[1].model"),
    ("{model: net}", "{model: net, inputs: {pixel: pixels}}", "TK203", "flow[1].inputs.pixel"),
    ("{model: net}", "{model: net, inputs: {pixels: pixls}}", "TK203", "flow[1].inputs.pixels"),
    ("{model: net}", "{model: net, inputs: {}}", "TK203", "flow[1].inputs"),
    ("{model: net}", "{model: net, inputs: {pixels: image}}", "TK204", "flow[1].inputs.pixels"),
    ("{model: net}", "{model: net, outputs: {logits: pixels}}", "TK209", "flow[1].outputs.logits"),
    ("{model: net}", "{model: net, outputs: {logits: unused}}", "TK210", "flow[1].outputs"),
    ("  - {model: after}\n", "", "TK210", "models.after"),
    ("{logits: {type: fp32, dims: [10]}}", "{logits: {type: fp16, dims: [10]}}", "TK204", "flow[2].inputs.logits"),
    ("{image: {type: bytes}}\noutputs", "{image: {type: bytes}, extra: {type: bytes}}\noutputs", "TK210", "inputs.extra"),
    ("score: {type: fp32, dims: [1]}}", "score: {type: fp32, dims: [1]}, no: {type: bytes}}", "TK210", "outputs.no"),
    ("net: {onnx: models/net.onnx}", "net: {onnx: models/net.onnx, batching: {max_batch_size: 2}}", "TK211", "models.net.batching"),
    ("net: {onnx: models/net.onnx}", "net: {onnx: models/net.onnx, name: two}", "TK217", "models.net.name"),
    ("net: {onnx: models/net.onnx}", "net: {onnx: models/net.onnx, inputs: {pixels: {type: fp16, dims: [1, 8, 8]}}}", "TK207", "models.net.inputs.pixels"),
    ("net: {onnx: models/net.onnx}", "net: {onnx: models/net.onnx, inputs: {pxels: {type: fp32, dims: [1, 8, 8]}}}", "TK203", "models.net.inputs.pxels"),
    ("net: {onnx: models/net.onnx}", "net: {python: steps/none.py:A, inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}, outputs: {logits: {type: fp32, dims: [10]}}}", "TK201", "models.net.python"),
    ("net: {onnx: models/net.onnx}", "net: {python: steps/own.py:Oter, inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}, outputs: {logits: {type: fp32, dims: [10]}}}", "TK220", "models.net.python"),
    ("net: {onnx: models/net.onnx}", "net: {python: steps/broken.py:A, inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}, outputs: {logits: {type: fp32, dims: [10]}}}", "TK220", "models.net.python"),
    ("net: {onnx: models/net.onnx}", "net: {onnx: models/net.onnx, warmup: [{name: w, batch_size: 9, inputs: {pixels: {zero: true}}}]}", "TK222", "models.net.warmup[0].batch_size"),
    ("net: {onnx: models/net.onnx}", "net: {onnx: models/net.onnx, warmup: [{name: w, inputs: {pxels: {zero: true}}}]}", "TK222", "models.net.warmup[0].inputs.pxels"),
    ("net: {onnx: models/net.onnx}", "net: {onnx: models/net.onnx, config: {default_model_filename: other.py}}", "TK223", "models.net.config.default_model_filename"),
    ("net: {onnx: models/net.onnx}", 'net: {onnx: models/net.onnx, versions: {specific: [1, 3]}}', "TK230", "models.net.versions.specific[1]"),
    ("net: {onnx: models/net.onnx}", 'net: {onnx: models/net.onnx, versions: {specific: []}}', "TK230", "models.net.versions.specific"),
    ("steps: [softmax, top_k]", "steps: [softmax, top_k]\n    versions: {specific: [2]}", "TK230", "models.after.versions.specific[0]"),
    ("models/net.onnx", "{1: models/net.onnx, 2: models/none.onnx}", "TK201", "models.net.onnx.2"),
    ("models/net.onnx", "{2: models/net.onnx, 7: data/ten.labels}", "TK202", "models.net.onnx.7"),
    ("net: {onnx: models/net.onnx}", 'net: {onnx: models/net.onnx, config: {model_transaction_policy: {decoupled: true}}}', "TK223", "models.net.config.model_transaction_policy"),
    ("net: {onnx: models/net.onnx}", 'net: {onnx: models/net.onnx, outputs: {logits: {type: fp32, dims: [10], labels: data/no.labels}}}', "TK201", "models.net.outputs.logits.labels"),
    ("net: {onnx: models/net.onnx}", 'net: {python: m:A, inputs: {pixels: {type: bf16, dims: [1, 8, 8]}}, outputs: {logits: {type: fp32, dims: [10]}}}', "TK226", "models.net.inputs.pixels"),
    ("net: {onnx: models/net.onnx}", 'net: {python: "steps/ö wn.py:Own", inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}, outputs: {logits: {type: fp32, dims: [10]}}}', "TK227", "models.net.python"),
    ("    inputs: {image: {type: bytes}}\n    outputs", "    inputs: {image: {type: bytes, optional: true}}\n    outputs", "TK223", "models.before.inputs.image.optional"),
    ("outputs: {label: {type: int64, dims: [1]}", "outputs: {label: {type: int64, dims: [1], labels: data/no.labels}", "TK201", "outputs.label.labels"),
    ("steps: [softmax, top_k]", "steps: [softmax, top_k]\n    cuda_graphs: {}", "TK223", "models.after.cuda_graphs"),
    ("net: {onnx: models/net.onnx}", "net: {files: models, inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}, outputs: {logits: {type: fp32, dims: [10]}}}", "TK223", "models.net"),
]  # fmt: skip


def problems(root: Path, spec: str, target: str | None = None) -> list[Problem]:
    project = make_project(root / "project", {"spec": spec})
    write_onnx(project.path("models/fixed.onnx"), {"pixels": [1, 1, 8, 8]}, {"logits": [1, 10]})
    write_onnx(
        project.path("models/double.onnx"),
        {"pixels": ["n", 1, 8, 8], "more": ["n", 1, 8, 8]},
        {"logits": ["n", 10]},
    )
    write_onnx(project.path("models/scalar.onnx"), {"pixels": ["n", 1, 8, 8]}, {"logits": ["n"]})
    (project.root / "steps").mkdir()
    (project.root / "steps" / "own.py").write_text("class Other:\n    def run(self, tensors, fail): return {}\n")
    (project.root / "steps" / "ö wn.py").write_text("class Own:\n    def run(self, tensors, fail): return {}\n")
    (project.root / "steps" / "broken.py").write_text("class A(:\n")
    return [p for p in open_workspace(project, target=target).problems if p.severity is Severity.ERROR]


@pytest.mark.parametrize(("old", "new", "code", "field"), SHORT_MISTAKES)
def test_short_form(tmp_path: Path, old: str, new: str, code: str, field: str) -> None:
    assert old in SHORT
    found = problems(tmp_path, SHORT.replace(old, new))
    assert (code, field) in [(p.code, p.field) for p in found]
    assert all(p.place.line > 0 and p.message for p in found)


@pytest.mark.parametrize(("old", "new", "code", "field"), FULL_MISTAKES)
def test_full_form(tmp_path: Path, old: str, new: str, code: str, field: str) -> None:
    assert old in FULL
    found = problems(tmp_path, FULL.replace(old, new))
    assert (code, field) in [(p.code, p.field) for p in found]
    assert all(p.place.line > 0 and p.message for p in found)


def test_the_good_specs_have_none(tmp_path: Path) -> None:
    assert problems(tmp_path / "short", SHORT) == []
    assert problems(tmp_path / "full", FULL) == []


def test_every_code_of_the_stage_is_reached() -> None:
    reached = {code for _, _, code, _ in SHORT_MISTAKES + FULL_MISTAKES}
    elsewhere = {
        "TK212", "TK215", "TK216", "TK218", "TK224", "TK225", "TK228", "TK232", "TK233", "TK234", "TK235", "TK236",
        "TK237", "TK238", "TK239", "TK240", "TK241", "TK242", "TK243", "TK244", "TK245",
    }  # fmt: skip
    assert reached | elsewhere == set(CODES)


def test_a_mismatch_between_steps_and_engine_is_told_once(tmp_path: Path) -> None:
    found = problems(tmp_path, SHORT.replace("size: [8, 8]", "size: [16, 16]"))
    assert [(p.code, p.field) for p in found] == [("TK204", "preprocess")]


def test_a_models_response_cache_is_warned_about(tmp_path: Path) -> None:
    spec = FULL.replace("net: {onnx: models/net.onnx}", "net: {onnx: models/net.onnx, response_cache: true}")
    [problem] = open_workspace(make_project(tmp_path / "project", {"spec": spec})).problems
    assert (problem.code, problem.severity) == ("TK225", Severity.WARNING)


@pytest.mark.parametrize("more", ["priorities: {levels: 2, default: 1}", "queue: {on_timeout: delay, timeout_us: 5}"])
def test_what_ordering_excludes(tmp_path: Path, more: str) -> None:
    spec = FULL.replace("max_batch_size: 4}", f"max_batch_size: 4, preserve_ordering: true, {more}}}")
    [problem] = problems(tmp_path, spec)
    assert (problem.code, problem.field) == ("TK128", "batching")


def test_what_a_target_makes_of_the_batching_has_to_fit_together(tmp_path: Path) -> None:
    spec = SHORT.replace("queue: {max_size: 256}", "preserve_ordering: true").replace(
        "gpu: h200}", "gpu: h200, batching: {priorities: {levels: 2, default: 1}}}"
    )
    [problem] = problems(tmp_path, spec)
    assert (problem.code, problem.field) == ("TK214", "targets.production.batching")


def test_an_unknown_target_names_the_known_ones(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, SHORT, target="producton")
    assert problem.code == "TK212"
    assert problem.hint == "did you mean `production`?"


def test_a_circle_is_found(tmp_path: Path) -> None:
    spec = """\
    name: round
    inputs: {x: {type: fp32, dims: [1]}}
    outputs: {y: {type: fp32, dims: [1]}}
    models:
      a: {python: m:A, inputs: {x: {type: fp32, dims: [1]}, back: {type: fp32, dims: [1]}}, outputs: {t: {type: fp32, dims: [1]}}}
      b: {python: m:B, inputs: {t: {type: fp32, dims: [1]}}, outputs: {back: {type: fp32, dims: [1]}, y: {type: fp32, dims: [1]}}}
    flow: [{model: a}, {model: b}]
    """
    assert [p.code for p in problems(tmp_path, spec)] == ["TK218"]


def test_all_mistakes_of_a_spec_come_at_once(tmp_path: Path) -> None:
    spec = FULL.replace("{model: net}", "{model: net, inputs: {pixels: image}}").replace(
        "score: {type: fp32, dims: [1]}}", "score: {type: fp32, dims: [2]}}"
    )
    assert {"TK204", "TK207", "TK210"} <= {p.code for p in problems(tmp_path, spec)}


def test_two_specs_may_not_render_the_same_model(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", {"a": SHORT, "b": SHORT})
    assert "TK217" in {p.code for p in open_workspace(project).problems}


def test_a_pointer_of_git_lfs_is_named_as_one(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", {"spec": SHORT})
    (project.root / "models" / "net.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    [problem] = [p for p in open_workspace(project).problems if p.code == "TK202"]
    assert "Git LFS pointer" in problem.message


def test_a_calibration_set_has_to_be_there(tmp_path: Path) -> None:
    spec = SHORT.replace("net.onnx}", "net.onnx, build: {calibration: {data: data/none.npz}}}")
    [problem] = problems(tmp_path, spec)
    assert (problem.code, problem.field) == ("TK201", "model.build.calibration.data")
