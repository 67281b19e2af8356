"""`decode` of an engine's buffers: what is rendered for a decoder on the GPU, and where there cannot be one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from generator.plan import EngineProgram, Plan
from generator.problems import Problem, Severity
from generator.resolve.show import as_yaml, full_spec
from generator.workspace import Workspace, open_workspace, render_trees
from generator_projects import SHORT, make_project
from tritonkit_runtime import parameters

FUSED = SHORT.replace("gpu: h200}", "gpu: h200, layout: fused}")
ARRAYS = FUSED.replace("image: {type: bytes}", "image: {type: uint8, dims: [-1, -1, 1]}").replace(
    "  - decode: {to: gray}\n", ""
)


def said(decode: str, preprocess: str = "gpu", spec: str = FUSED) -> str:
    return spec.replace("net.onnx}", f"net.onnx, buffers: {{preprocess: {preprocess}, decode: {decode}}}}}")


def opened(root: Path, spec: str, target: str = "production") -> Workspace:
    return open_workspace(make_project(root / "project", {"spec": spec}), target=target)


def rendered(work: Workspace) -> tuple[dict[str, Any], str]:
    """tritonkit.json and config.pbtxt."""
    work.stop_on_errors()
    [tree] = render_trees(work)
    [path] = [path for path in tree.files if path.endswith("tritonkit.json")]
    [config] = [path for path in tree.files if path.endswith("config.pbtxt")]
    return json.loads(tree.files[path]), " ".join(tree.files[config].decode().replace("\n#", "").split())


def decode_of(plan: Plan) -> str:
    [engine] = plan.engines()
    assert isinstance(engine.program, EngineProgram)
    assert engine.program.buffers is not None
    return engine.program.buffers.decode


def told(work: Workspace, code: str) -> list[Problem]:
    return [p for p in work.problems if p.code == code and p.field.endswith("buffers.decode")]


@pytest.mark.parametrize(("decode", "preprocess"), [("gpu", "gpu"), ("auto", "gpu"), ("auto", "auto")])
def test_the_model_is_told(tmp_path: Path, decode: str, preprocess: str) -> None:
    work = opened(tmp_path, said(decode, preprocess))
    document, config = rendered(work)
    assert document["program"]["stages"][1]["program"]["buffers"]["decode"] == decode
    assert decode_of(work.plans["production"][0]) == decode
    [note] = told(work, "TK238")
    assert note.severity is Severity.NOTE
    assert "nvImageCodec and nvJPEG" in note.message
    assert note.message.endswith("the CPU decodes") == (decode == "auto")
    assert "nvidia-nvimgcodec-cu13[nvjpeg]" in str(note.hint)
    assert not told(work, "TK243")
    line = "It runs on the GPU: JPEG files are decoded there, and one kernel that is compiled at start does the rest"
    assert f"{line}." in config if decode == "gpu" else f"{line}; on the CPU where that cannot be." in config


def test_the_runtime_reads_what_is_rendered(tmp_path: Path) -> None:
    found = parameters.parse(rendered(opened(tmp_path, said("gpu")))[0]).program
    assert isinstance(found, parameters.FlowProgram)
    engine = found.stages[1].program
    assert isinstance(engine, parameters.EngineProgram)
    assert engine.buffers is not None
    assert engine.buffers.decode == "gpu"


@pytest.mark.parametrize("spec", [said("cpu"), said("cpu", "cpu"), FUSED], ids=["cpu", "both", "left out"])
def test_on_the_cpu_nothing_is_said(tmp_path: Path, spec: str) -> None:
    work = opened(tmp_path, spec)
    document, config = rendered(work)
    assert "decode" not in document["program"]["stages"][1]["program"]["buffers"]
    assert "JPEG" not in config
    assert not told(work, "TK238")


@pytest.mark.parametrize(
    ("spec", "why", "hint"),
    [
        (said("gpu", "cpu"), "what follows `decode` runs on the CPU", "say `preprocess: gpu` too"),
        (said("auto", "cpu"), "what follows `decode` runs on the CPU", "say `preprocess: gpu` too"),
        (said("gpu", "auto"), "`preprocess: auto` may come to the CPU", "or `decode: auto`"),
        (said("gpu", spec=ARRAYS), "`preprocess` takes images that are decoded already", "remove it"),
    ],
    ids=["no kernel", "no kernel, auto", "perhaps no kernel", "arrays"],
)
def test_what_cannot_be_is_refused(tmp_path: Path, spec: str, why: str, hint: str) -> None:
    work = opened(tmp_path, spec)
    [error] = told(work, "TK243")
    assert error.severity is Severity.ERROR
    assert why in error.message
    assert hint in str(error.hint)


def test_instances_on_the_cpu_decode_nothing_on_a_gpu(tmp_path: Path) -> None:
    on_cpu = said("gpu").replace("kind: gpu, count: 2", "kind: cpu, count: 2")
    on_cpu = on_cpu.replace("engine: tensorrt, precision: fp16, ", "")
    [error] = told(opened(tmp_path, on_cpu), "TK243")
    assert error.severity is Severity.ERROR
    assert "no instance is on a GPU" in error.message
    assert not told(opened(tmp_path / "auto", on_cpu.replace("decode: gpu", "decode: auto")), "TK243")


def test_auto_has_no_effect_on_arrays_and_says_so(tmp_path: Path) -> None:
    work = opened(tmp_path, said("auto", spec=ARRAYS))
    [note] = told(work, "TK243")
    assert note.severity is Severity.NOTE
    assert "decode" not in rendered(work)[0]["program"]["stages"][1]["program"]["buffers"]


def test_where_no_kernel_is_possible_nothing_more_is_said(tmp_path: Path) -> None:
    work = opened(tmp_path, said("gpu").replace("size: [8, 8]", "size: [8, 8], method: cubic"))
    assert {p.code for p in work.problems if p.severity is Severity.ERROR} == {"TK239"}
    work = opened(tmp_path / "auto", said("auto", "auto").replace("size: [8, 8]", "size: [8, 8], method: cubic"))
    assert decode_of(work.plans["production"][0]) == "cpu"


def test_in_other_layouts_it_is_a_field_without_effect(tmp_path: Path) -> None:
    work = opened(tmp_path, said("gpu", spec=SHORT))
    work.stop_on_errors()
    assert not told(work, "TK238")
    assert [p.severity for p in work.problems if p.code == "TK223"] == [Severity.NOTE]


def test_a_word_that_is_none(tmp_path: Path) -> None:
    errors = [p for p in opened(tmp_path, said("tpu")).problems if p.severity is Severity.ERROR]
    assert [p.field for p in errors] == ["model.buffers.decode"]


def test_the_plan_written_out_in_full_is_the_same_plan(tmp_path: Path) -> None:
    work = opened(tmp_path / "first", said("gpu"))
    work.stop_on_errors()
    [resolved] = work.resolved["production"]
    text = as_yaml(full_spec(resolved.spec, resolved.expanded, resolved.plan), resolved.plan)
    assert "decode: gpu" in text
    assert rendered(opened(tmp_path / "again", text))[0] == rendered(work)[0]


def test_a_model_that_carries_the_runtime_brings_the_decoder(tmp_path: Path) -> None:
    work = opened(tmp_path, said("gpu"))
    work.stop_on_errors()
    [tree] = render_trees(work, self_contained=True)
    for name in ("decoder", "filling", "jpeg", "nvimgcodec"):
        assert f"small/1/tritonkit_runtime/preprocess/{name}.py" in tree.files
