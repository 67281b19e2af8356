"""Versions of an engine: which are there, which are served, and what becomes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from generator.plan import EngineProgram, FlowProgram
from generator.problems import Severity
from generator.workspace import Workspace, open_workspace, render_trees
from generator_projects import SHORT, make_project, write_onnx

BOTH = "onnx: {10: models/ten.onnx, 2: models/net.onnx}"
TENSORS = {"pixels": ["batch", 1, 8, 8]}, {"logits": ["batch", 10]}


def opened(root: Path, spec: str, target: str = "embedded") -> Workspace:
    """A project in which models/ten.onnx has the tensors of models/net.onnx, and is another file."""
    project = make_project(root / "project", {"spec": spec})
    write_onnx(project.root / "models" / "ten.onnx", *TENSORS)
    data = (project.root / "models" / "ten.onnx").read_bytes()
    (project.root / "models" / "ten.onnx").write_bytes(data + b"\x32\x03ten")  # its doc_string
    return open_workspace(project, target=target)


def spec_of(versions: str = "", layout: str = "ensemble") -> str:
    spec = SHORT.replace("onnx: models/net.onnx", BOTH + versions)
    return spec.replace("targets:\n", f"targets:\n  embedded: {{layout: {layout}}}\n")


def files_of(work: Workspace) -> dict[str, bytes]:
    work.stop_on_errors()
    [tree] = render_trees(work)
    return dict(tree.files)


def config_of(files: dict[str, bytes], name: str) -> ModelConfig:
    return text_format.Parse(files[f"{name}/config.pbtxt"].decode(), ModelConfig())


@pytest.mark.parametrize(
    ("versions", "newest"),
    [
        ("", 10),
        (", versions: {latest: 1}", 10),
        (", versions: {latest: 5}", 10),
        (", versions: {specific: [2]}", 2),
        (", versions: {specific: [10, 2]}", 10),
        (", versions: {all: true}", 10),
    ],
)
def test_the_newest_that_is_served_stands_for_the_engine(tmp_path: Path, versions: str, newest: int) -> None:
    work = opened(tmp_path, spec_of(versions))
    work.stop_on_errors()
    [plan] = work.plans["embedded"]
    [engine] = [model for model in plan.models if isinstance(model.program, EngineProgram)]
    assert isinstance(engine.program, EngineProgram)
    assert [(v.number, v.onnx) for v in engine.program.versions] == [(2, "models/net.onnx"), (10, "models/ten.onnx")]
    assert engine.program.newest == engine.newest() == newest
    assert engine.version_numbers() == (2, 10)
    assert [model.version_numbers() for model in plan.models if model is not engine] == [(1,), (1,)]


def test_every_version_has_its_directory(tmp_path: Path) -> None:
    work = opened(tmp_path, spec_of(", versions: {specific: [2]}"))
    files, root = files_of(work), work.project.root
    engine = {
        path.removeprefix("small_engine/"): data for path, data in files.items() if path.startswith("small_engine/")
    }
    names = ("model.onnx", "model.py", "tritonkit.json")
    assert set(engine) == {"config.pbtxt", *(f"{version}/{name}" for version in (2, 10) for name in names)}
    assert engine["2/model.onnx"] == (root / "models" / "net.onnx").read_bytes()
    assert engine["10/model.onnx"] == (root / "models" / "ten.onnx").read_bytes()
    assert engine["2/model.py"] == engine["10/model.py"]
    assert list(config_of(files, "small_engine").version_policy.specific.versions) == [2]
    assert [step.model_version for step in config_of(files, "small").ensemble_scheduling.step] == [-1, -1, -1]


def test_without_a_policy_the_configuration_says_what_triton_does(tmp_path: Path) -> None:
    text = files_of(opened(tmp_path, spec_of()))["small_engine/config.pbtxt"].decode()
    assert "# Runs models/net.onnx (version 2), models/ten.onnx (version 10) in ONNX Runtime." in text
    assert "# The spec says no `versions`, so Triton serves the newest alone: 10." in text
    assert "version_policy" not in text


def test_a_fused_pipeline_has_the_versions_of_its_engine(tmp_path: Path) -> None:
    work = opened(tmp_path, spec_of(", versions: {latest: 2}", "fused"))
    files, root = files_of(work), work.project.root
    [model] = work.plans["embedded"][0].models
    assert isinstance(model.program, FlowProgram)
    assert (model.name, model.version_numbers(), model.newest()) == ("small", (2, 10), 10)
    names = ("engine.onnx", "model.py", "tritonkit.json")
    assert set(files) == {"small/config.pbtxt", *(f"small/{version}/{name}" for version in (2, 10) for name in names)}
    assert files["small/10/engine.onnx"] == (root / "models" / "ten.onnx").read_bytes()
    assert config_of(files, "small").version_policy.latest.num_versions == 2


def test_every_version_has_a_request_for_its_engine(tmp_path: Path) -> None:
    files = files_of(opened(tmp_path, spec_of(), "production"))
    requests = [json.loads(files[f"small_engine/{version}/engine.request.json"]) for version in (2, 10)]
    assert [request["onnx"] for request in requests] == ["models/net.onnx", "models/ten.onnx"]
    assert requests[0]["onnx_sha256"] != requests[1]["onnx_sha256"]


def test_every_difference_between_versions_is_told_at_its_place(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", {"spec": spec_of().replace("10: ", "1: models/one.onnx, 10: ")})
    write_onnx(project.root / "models" / "ten.onnx", *TENSORS)
    write_onnx(project.root / "models" / "one.onnx", {"pixel": ["batch", 1, 8, 8]}, {"logits": ["batch", 12]})
    found = [p for p in open_workspace(project, target="embedded").problems if p.severity is Severity.ERROR]
    assert {(p.code, p.field) for p in found} == {("TK231", "model.onnx.1")}
    assert [p.message for p in found] == [
        "version 1 has no input `pixels`, which version 10 has",
        "version 1 has an input `pixel`, which version 10 does not have",
        "output `logits` is FP32 [any, 12] in version 1 and FP32 [any, 10] in version 10",
    ]
    line = (project.root / "specs" / "spec.yaml").read_text().splitlines()[found[0].place.line - 1]
    assert line[found[0].place.column - 1 :].startswith("models/one.onnx")


@pytest.mark.parametrize("written", ["{}", "{0: models/net.onnx}", "{01: models/net.onnx}", "{1.0: models/net.onnx}",
                                     "{-1: models/net.onnx}", "{new: models/net.onnx}", "{1: models/net.onnx, '1': models/net.onnx}",
                                     "{1: }", "{1: /etc/net.onnx}", "[models/net.onnx]"])  # fmt: skip
def test_what_is_no_mapping_of_versions(tmp_path: Path, written: str) -> None:
    problems = opened(tmp_path, SHORT.replace("onnx: models/net.onnx", f"onnx: {written}")).problems
    assert any(p.severity is Severity.ERROR and p.field.startswith("model") for p in problems), problems
    assert all(p.code.startswith("TK1") for p in problems), "found when it is read"


def test_several_engines_with_versions_cannot_be_fused(tmp_path: Path) -> None:
    spec = """
name: two
layout: fused
inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}
outputs: {one: {type: fp32, dims: [10]}, two: {type: fp32, dims: [10]}}
models:
  first: {onnx: models/net.onnx}
  second: {onnx: {2: models/net.onnx, 10: models/ten.onnx}}
flow:
  - {model: first, outputs: {logits: one}}
  - {model: second, outputs: {logits: two}}
"""
    found = [p for p in opened(tmp_path, spec).problems if p.severity is Severity.ERROR]
    assert [(p.code, p.field) for p in found] == [("TK229", "models.second.onnx")]
    opened(tmp_path / "apart", spec.replace("layout: fused\n", "")).stop_on_errors()
