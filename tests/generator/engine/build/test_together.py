"""Engines of one pipeline: judged as they are served, beside each other."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from engine_projects import digits_project, model
from onnx import helper, numpy_helper

from generator.engine.build.candidates import compiling, trying
from generator.engine.build.candidates.choices import Choice
from generator.engine.build.candidates.runners import plugins_of, runner_of
from generator.engine.build.gate import beside
from generator.engine.build.jobs import jobs_of
from generator.engine.build.run import Builder, Outcome
from generator.engine.compile.base import Compiled, Settings
from generator.engine.errors import Finding, StageError
from generator.engine.install.store import installed
from generator.engine.install.write import install, manifest_of
from generator.engine.runner import Runner
from generator.plan import EngineProgram
from generator.project import Project
from generator.workspace import open_workspace

CLONE = Path(__file__).parents[4]
DETECTOR = ("embedded", "canvas_detector", 1)


def canvas_in_fp16(root: Path) -> Project:
    for name in ("models", "data", "steps"):
        shutil.copytree(CLONE / name, root / name, ignore=shutil.ignore_patterns("embeddings*", "__pycache__"))
    (root / "specs").mkdir()
    text = (CLONE / "specs" / "canvas.yaml").read_text(encoding="utf-8")
    for file in ("models/canvas_detector.onnx", "models/digits_crops.onnx"):
        text = text.replace(f"onnx: {file}", f"onnx: {file}\n    precision: fp16")
    (root / "specs" / "canvas.yaml").write_text(text, encoding="utf-8")
    return Project(root)


def build(project: Project, key: str) -> Outcome:
    [job] = [job for job in jobs_of(open_workspace(project, target="embedded")) if job.model.key == key]
    return Builder(project, lambda _text: None, force=True).build(job)


def without_boxes(graph: bytes) -> bytes:
    """The same network, whose boxes all are the whole canvas's corner."""
    network = onnx.load_model_from_string(graph)
    output = next(value for value in network.graph.output if value.name == "boxes")
    for node in network.graph.node:
        for index, name in enumerate(node.output):
            if name == output.name:
                node.output[index] = "right"
    nothing = numpy_helper.from_array(np.zeros((), np.float32), "nothing")
    network.graph.initializer.append(nothing)
    network.graph.node.append(helper.make_node("Mul", ["right", "nothing"], [output.name], name="planted"))
    data: bytes = network.SerializeToString()
    return data


def test_an_engine_is_judged_beside_the_others_as_they_are_served(tmp_path: Path) -> None:
    project = canvas_in_fp16(tmp_path / "p")
    assert build(project, "detector").status == "installed"
    fine = build(project, "classifier")
    assert fine.status == "installed", fine.problems
    assert fine.installed is not None
    assert list(fine.installed.manifest["gate"]["beside"]) == ["canvas_detector"]

    # Its own outputs are those for what FP32 gives it, whatever stands before it.
    [verdict] = [row.verdict for row in fine.rows if row.verdict is not None]
    (project.root / "engines" / "embedded" / "canvas_detector").rename(tmp_path / "kept")
    alone = build(project, "classifier")
    [other] = [row.verdict for row in alone.rows if row.verdict is not None]
    assert verdict.to_json()["comparison"] == other.to_json()["comparison"]
    assert alone.installed is not None
    assert "beside" not in alone.installed.manifest["gate"]
    (tmp_path / "kept").rename(project.root / "engines" / "embedded" / "canvas_detector")

    there = installed(project, *DETECTOR)
    assert there is not None

    def replaced(data: bytes) -> None:
        manifest = manifest_of(
            DETECTOR, there.key, there.manifest["request"], engine="onnxruntime", precision="fp16",
            file=("model.onnx", data), facts={}, measured={},
        )  # fmt: skip
        install(project, DETECTOR, manifest, data)

    replaced(without_boxes((there.folder / "model.onnx").read_bytes()))
    refused = build(project, "classifier")
    assert refused.status == "refused"
    assert "TK972" in {problem.code for problem in refused.problems}

    replaced(b"rubbish")
    refused = build(project, "classifier")
    assert refused.status == "refused"
    [problem] = [problem for problem in refused.problems if problem.code == "TK978"]
    assert "the engine of `canvas_detector`, which is served beside it, cannot be loaded: " in problem.message
    assert f"delete {there.folder}" in problem.hint


def test_an_engine_beside_finds_its_files_from_the_projects_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = canvas_in_fp16(tmp_path / "p")
    assert build(project, "detector").status == "installed"
    roots: list[Path] = []

    def loaded(choice: Choice, compiled: Compiled, program: EngineProgram, root: Path) -> Runner:
        roots.append(root)
        return runner_of(choice, compiled, program, root)

    monkeypatch.setattr(beside, "runner_of", loaded)
    assert build(project, "classifier").status == "installed"
    assert set(roots) == {project.root}
    [job] = [job for job in jobs_of(open_workspace(project, target="embedded")) if job.model.key == "classifier"]
    program = replace(job.program, build=job.program.build.model_copy(update={"plugins": ["plugins/own.so"]}))
    assert plugins_of(program, project.root) == [str(project.root / "plugins" / "own.so")]


class Failing:
    """Compiles nothing."""

    name, precision_in_graph = "onnxruntime", True

    def missing(self) -> str:
        return ""

    def compile(self, graph: bytes, settings: Settings, progress: Any) -> Compiled:
        raise StageError(Finding("TK950", f"no {settings.precision} today", "wait", "engine"))


def test_why_none_of_several_engines_could_be_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = digits_project(tmp_path / "p", model(engine="auto", precision="fp16"))
    for module in (compiling, trying):
        monkeypatch.setattr(module, "compiler_of", lambda *_given: Failing())
    [job] = jobs_of(open_workspace(project))
    refused = Builder(project, lambda _text: None).build(job)
    assert refused.status == "refused"
    told = [problem for problem in refused.to_json()["problems"] if problem["code"] == "TK950"]
    assert {problem["message"].split(": ")[-1] for problem in told} == {"no fp32 today", "no fp16 today"}
    assert all(problem["severity"] == "error" for problem in told)
