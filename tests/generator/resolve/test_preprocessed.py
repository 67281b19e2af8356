"""`preprocess` of an engine's buffers: what is rendered for a kernel on the GPU, and what cannot be one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from generator.plan import EngineProgram, Plan
from generator.problems import Problem, Severity
from generator.resolve.show import as_yaml, full_spec
from generator.workspace import Workspace, open_workspace, render_trees
from generator_projects import FULL, SHORT, make_project

FUSED = SHORT.replace("gpu: h200}", "gpu: h200, layout: fused}")
WHOLE = (
    FULL.replace("name: two\n", "name: two\nlayout: fused\n")
    + 'targets: {production: {server: "26.07", gpu: h200}}\n'
)


def said(spec: str, preprocess: str) -> str:
    return spec.replace("net.onnx}", f"net.onnx, buffers: {{preprocess: {preprocess}}}}}")


def opened(root: Path, spec: str, target: str = "production") -> Workspace:
    return open_workspace(make_project(root / "project", {"spec": spec}), target=target)


def program_json(work: Workspace) -> list[dict[str, Any]]:
    work.stop_on_errors()
    [tree] = render_trees(work)
    [path] = [path for path in tree.files if path.endswith("tritonkit.json")]
    stages: list[dict[str, Any]] = json.loads(tree.files[path])["program"]["stages"]
    return stages


def preprocess_of(plan: Plan) -> str:
    [engine] = plan.engines()
    assert isinstance(engine.program, EngineProgram)
    assert engine.program.buffers is not None
    return engine.program.buffers.preprocess


def told(work: Workspace, code: str) -> list[Problem]:
    return [p for p in work.problems if p.code == code and p.field.endswith("buffers.preprocess")]


@pytest.mark.parametrize("spec", [FUSED, WHOLE], ids=["short", "full"])
@pytest.mark.parametrize("preprocess", ["gpu", "auto"])
def test_the_model_is_told(tmp_path: Path, spec: str, preprocess: str) -> None:
    work = opened(tmp_path, said(spec, preprocess))
    engine = program_json(work)[1]["program"]
    assert engine["buffers"]["preprocess"] == preprocess
    assert preprocess_of(work.plans["production"][0]) == preprocess
    [note] = told(work, "TK238")
    assert note.severity is Severity.NOTE
    assert "libnvrtc.so of CUDA 12 or 13" in note.message
    assert note.message.endswith("the steps run on the CPU") == (preprocess == "auto")
    assert not told(work, "TK239")


@pytest.mark.parametrize("spec", [FUSED, said(FUSED, "cpu")], ids=["left out", "cpu"])
def test_on_the_cpu_nothing_is_said(tmp_path: Path, spec: str) -> None:
    work = opened(tmp_path, spec)
    assert "preprocess" not in program_json(work)[1]["program"]["buffers"]
    assert not told(work, "TK238")


def test_the_configuration_says_where_it_runs(tmp_path: Path) -> None:
    [tree] = render_trees(opened(tmp_path, said(FUSED, "gpu")))
    config = tree.files["small/config.pbtxt"].decode()
    line = "preprocess: But for decoding it runs on the GPU, in one kernel that is compiled at start."
    assert line in " ".join(config.replace("\n#", "").split())


def test_a_model_that_carries_the_runtime_brings_the_kernel(tmp_path: Path) -> None:
    for preprocess, there in (("gpu", True), ("cpu", False)):
        work = opened(tmp_path / preprocess, said(FUSED, preprocess))
        work.stop_on_errors()
        [tree] = render_trees(work, self_contained=True)
        found = {f"small/1/tritonkit_runtime/{name}.py" in tree.files for name in _PARTS}
        assert found == {there}


_PARTS = ("preprocess/kernel", "preprocess/source", "preprocess/nvrtc", "programs/preprocessed", "programs/pairs")

UNABLE = {
    "cubic": (FUSED.replace("size: [8, 8]", "size: [8, 8], method: cubic"), "`preprocess`: `resize` by method `cubic` has no kernel"),
    "elsewhere too": (
        WHOLE.replace("score: {type: fp32, dims: [1]}", "score: {type: fp32, dims: [1]}, pixels: {type: fp32, dims: [1, 8, 8]}"),
        "no steps give a tensor to it alone",
    ),
    "none": (
        FUSED.replace("image: {type: bytes}", "image: {type: fp32, dims: [1, 8, 8]}").split("preprocess:")[0]
        + "postprocess:" + FUSED.split("postprocess:")[1],
        "no steps give a tensor to it alone",
    ),
    "no resize": (
        FUSED.replace("image: {type: bytes}", "image: {type: uint8, dims: [8, 8, 1]}").replace("  - decode: {to: gray}\n  - resize: {size: [8, 8]}\n", ""),
        "`preprocess`: they do not begin with `resize`",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "why"), UNABLE.values(), ids=UNABLE)
def test_steps_that_cannot_are_refused(tmp_path: Path, spec: str, why: str) -> None:
    errors = [p for p in opened(tmp_path, said(spec, "gpu")).problems if p.severity is Severity.ERROR]
    assert [p.code for p in errors] == ["TK239"]
    assert errors[0].field in {"model.buffers.preprocess", "models.net.buffers.preprocess"}
    assert why in errors[0].message
    assert "`preprocess: cpu`" in errors[0].hint


@pytest.mark.parametrize(("spec", "why"), UNABLE.values(), ids=UNABLE)
def test_auto_leaves_them_on_the_cpu_and_says_so(tmp_path: Path, spec: str, why: str) -> None:
    work = opened(tmp_path, said(spec, "auto"))
    work.stop_on_errors()
    [note] = told(work, "TK239")
    assert why in note.message
    assert note.message.endswith("; they run on the CPU")
    assert preprocess_of(work.plans["production"][0]) == "cpu"


def test_a_word_that_is_none(tmp_path: Path) -> None:
    errors = [p for p in opened(tmp_path, said(FUSED, "tpu")).problems if p.severity is Severity.ERROR]
    assert [p.field for p in errors] == ["model.buffers.preprocess"]


@pytest.mark.parametrize("spec", [FUSED, WHOLE], ids=["short", "full"])
def test_the_plan_written_out_in_full_is_the_same_plan(tmp_path: Path, spec: str) -> None:
    work = opened(tmp_path / "first", said(spec, "gpu"))
    work.stop_on_errors()
    [resolved] = work.resolved["production"]
    text = as_yaml(full_spec(resolved.spec, resolved.expanded, resolved.plan), resolved.plan)
    assert "preprocess: gpu" in text
    again = opened(tmp_path / "again", text)
    assert program_json(again) == program_json(work)


@pytest.mark.parametrize(("preprocess", "refused"), [("gpu", True), ("auto", False), ("cpu", False)])
def test_instances_on_the_cpu_beside_those_on_a_gpu(tmp_path: Path, preprocess: str, *, refused: bool) -> None:
    """An instance without a GPU does not load where the kernel must be."""
    beside = FUSED.replace("[{kind: gpu, count: 2}]", "[{kind: gpu, count: 2}, {kind: cpu, count: 1}]")
    beside = beside.replace("engine: tensorrt, precision: fp16, ", "")
    errors = told(opened(tmp_path, said(beside, preprocess)), "TK239")
    assert [error.severity for error in errors] == [Severity.ERROR] * refused
    for error in errors:
        assert "no instance loads that is not on a GPU; found `kind: cpu`" in error.message
        assert "or `preprocess: auto`" in str(error.hint)
