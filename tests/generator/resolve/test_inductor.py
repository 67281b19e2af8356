"""`engine: inductor`: which models are served by it on which targets, and what they are told of their memory."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from generator.engine.install.request import key_of_request, request_of
from generator.engine.install.write import install, manifest_of
from generator.plan import EngineProgram, FlowProgram
from generator.problems import Problem, ProblemsError, Severity
from generator.resolve.show import as_yaml, full_spec
from generator.workspace import Workspace, open_workspace, render_trees
from generator_projects import SHORT, engine_of, make_project, plan_of, write_onnx

INDUCTOR = SHORT.replace("engine: tensorrt, precision: fp16, gpu", "engine: inductor, precision: fp16, gpu")
EMBEDDED = INDUCTOR.replace("targets:", "targets:\n  embedded: {engine: inductor, instances: [{kind: cpu}]}")


def opened(root: Path, spec: str, target: str) -> Workspace:
    project = make_project(root / "project", {"spec": spec})
    write_onnx(project.root / "models" / "open.onnx", {"pixels": ["b", 1, 8, 8]}, {"logits": ["b", "n"]})
    return open_workspace(project, target=target)


def problems_of(root: Path, spec: str, target: str, severity: Severity = Severity.ERROR) -> list[Problem]:
    return [problem for problem in opened(root, spec, target).problems if problem.severity is severity]


@pytest.mark.parametrize("target", ["embedded", "production"])
@pytest.mark.parametrize("layout", ["ensemble", "fused", "folded"])
def test_the_engine_is_a_python_model_in_memory_that_is_allocated_once(
    tmp_path: Path, target: str, layout: str
) -> None:
    plan = plan_of(opened(tmp_path, f"{EMBEDDED}layout: {layout}\n", target), target)
    [engine] = plan.engines()
    assert (engine.model.backend, engine.program.engine) == ("python", "inductor")
    assert isinstance(engine.model.program, FlowProgram if layout == "fused" else EngineProgram)
    buffers = engine.program.buffers
    assert buffers is not None
    assert (buffers.buckets, buffers.preprocess, buffers.outputs) == ((1, 2, 4, 8, 16, 32), "cpu", "host")
    told = "\n".join(engine.model.comments)
    assert f"Runs what Inductor compiled of models/net.onnx in {engine.program.precision}." in told
    assert "It is ready for batches of 1, 2, 4, 8, 16, 32; others are padded to the next." in told
    assert [group.kind for group in engine.model.instances] == ["cpu" if target == "embedded" else "gpu"]


def test_what_is_said_in_full_means_the_same(tmp_path: Path) -> None:
    work = opened(tmp_path / "short", EMBEDDED, "embedded")
    plan = plan_of(work, "embedded")
    [resolved] = work.resolved["embedded"]
    text = as_yaml(full_spec(resolved.spec, resolved.expanded, plan), plan)
    assert "engine: inductor" in text
    again = plan_of(opened(tmp_path / "full", text, "embedded"), "embedded")
    assert engine_of(again).buffers == engine_of(plan).buffers


def test_the_sizes_that_a_spec_names(tmp_path: Path) -> None:
    spec = EMBEDDED.replace("net.onnx}", "net.onnx, buffers: {buckets: [8, 32], slots: 3}}")
    assert spec != EMBEDDED
    work = opened(tmp_path, spec, "embedded")
    buffers = engine_of(plan_of(work, "embedded")).buffers
    assert buffers is not None
    assert (buffers.buckets, buffers.slots) == ((8, 32), 3)
    assert "TK223" not in [problem.code for problem in work.problems]


def test_other_servers_are_told_of_the_packages_and_the_embedded_one_has_them(tmp_path: Path) -> None:
    [note] = [p for p in problems_of(tmp_path / "a", INDUCTOR, "production", Severity.NOTE) if p.code == "TK238"]
    assert "has to have `numpy` and `torch` (of the version that compiles)" in note.message
    assert "EXECUTION_ENV_PATH" in note.hint
    notes = problems_of(tmp_path / "b", EMBEDDED, "embedded", Severity.NOTE)
    assert "TK238" not in [problem.code for problem in notes]


@pytest.mark.parametrize(
    ("before", "after", "target", "code", "words"),
    [
        ("precision: fp16", "precision: int8", "production", "TK221",
         "Inductor does not run int8 with a GPU; it runs `fp32`, `tf32`, `fp16`, `bf16`"),
        ("engine: inductor, instances", "engine: inductor, precision: tf32, instances", "embedded", "TK221",
         "Inductor does not run tf32 on the CPU; it runs `fp32`, `fp16`, `bf16`"),
        ("gpu: h200", "gpu: h200, instances: [{kind: cpu}]", "production", "TK229",
         "what Inductor compiles of `engine` runs in Python instances, which need a GPU for it"),
        ("models/net.onnx", "models/open.onnx", "embedded", "TK237",
         "the memory of what Inductor compiles is allocated once: `logits` of `engine` is"),
    ],
)  # fmt: skip
def test_what_cannot_be(tmp_path: Path, before: str, after: str, target: str, code: str, words: str) -> None:
    assert before in EMBEDDED
    found = problems_of(tmp_path, EMBEDDED.replace(before, after), target)
    assert any(problem.code == code and words in problem.message for problem in found), found


def put(work: Workspace, target: str, torch: str) -> None:
    """An engine as `tritonkit build` installs it."""
    plan = plan_of(work, target)
    [engine] = plan.engines()
    request = request_of(plan, engine.part, 1, work.project)
    place = (target, engine.part.name, 1)
    manifest = manifest_of(
        place, key_of_request(request, engine.program.asked), request, engine="inductor",
        precision=engine.program.precision, file=("model.inductor", b"code"),
        facts={"compiled": {"torch": torch, "device": "cpu"}}, measured={},
    )  # fmt: skip
    install(work.project, place, manifest, b"code")


def test_what_is_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: "2.11.0")
    work = opened(tmp_path, EMBEDDED, "embedded")
    put(work, "embedded", "2.11.0+cpu")
    [tree] = render_trees(work)
    assert tree.files["small_engine/1/model.inductor"] == b"code"
    document: dict[str, Any] = json.loads(tree.files["small_engine/1/tritonkit.json"])
    assert document["program"] == {
        "kind": "engine", "engine": "inductor", "file": "model.inductor", "intra_op_threads": 1,
        "buffers": {"buckets": [1, 2, 4, 8, 16, 32], "slots": 2, "copies": "auto"},
    }  # fmt: skip


@pytest.mark.parametrize("here", ["2.10.0", None])
def test_another_torch_in_the_python_that_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str | None
) -> None:
    def version(_: str) -> str:
        if here is None:
            raise metadata.PackageNotFoundError
        return here

    monkeypatch.setattr(metadata, "version", version)
    work = opened(tmp_path, EMBEDDED, "embedded")
    put(work, "embedded", "2.11.0")
    with pytest.raises(ProblemsError) as raised:
        render_trees(work)
    [problem] = [found for found in raised.value.problems if found.severity is Severity.ERROR]
    assert problem.code == "TK981"
    assert f"was compiled by PyTorch 2.11.0, and here is {here or 'none'}" in problem.message


def test_it_is_not_served_before_it_is_built(tmp_path: Path) -> None:
    with pytest.raises(ProblemsError) as raised:
        render_trees(opened(tmp_path, EMBEDDED, "embedded"))
    [problem] = [found for found in raised.value.problems if found.severity is Severity.ERROR]
    assert (problem.code, problem.field) == ("TK980", "engine")
    assert problem.message == (
        "on target `embedded`, model `small_engine` runs what Inductor compiles of it, and it is not built"
    )
    assert "engine: inductor" in EMBEDDED.splitlines()[problem.place.line - 1]
