"""Where an engine cannot be compiled, its graph and the commands that compile it elsewhere are written."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import yaml
from engine_projects import digits_project

from generator.engine.build.candidates import Choice
from generator.engine.build.gate import Judge
from generator.engine.build.jobs import jobs_of
from generator.engine.build.lower import Lowerer
from generator.engine.build.prepare import prepare
from generator.engine.build.profiles import profiles_of
from generator.engine.cache import Cache
from generator.engine.errors import StageError
from generator.workspace import open_workspace

PRODUCTION = {"server": "26.07", "engine": "tensorrt", "precision": "fp16", "gpu": "h200"}


def prepared(root: Path, choice: Choice) -> Path:
    project = digits_project(root, {"targets": {"production": PRODUCTION}})
    [job] = jobs_of(open_workspace(project, target="production"))
    model, graph = job.read(project)
    profiles = profiles_of(job, model)
    lowerer = Lowerer(job, model, Judge(job, graph, project, profiles), project, Cache(root / "cache"))
    return prepare(job, choice, profiles, lowerer, project=project, progress=lambda _text: None)


def test_the_graph_and_the_commands_are_written(tmp_path: Path) -> None:
    folder = prepared(tmp_path / "project", Choice("tensorrt", "fp16"))
    assert folder == tmp_path.joinpath("project", "build", "engines", "prepared", "production", "digits_engine", "1")
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "build.sh", "job.yaml"}
    onnx.checker.check_model(onnx.load(folder / "model.onnx"))
    assert "trtexec" in (folder / "build.sh").read_text()
    assert {part["kind"] for part in yaml.safe_load_all((folder / "job.yaml").read_text())} >= {"Job"}
    assert not (tmp_path / "project" / "engines").exists()


def test_other_engines_have_no_command(tmp_path: Path) -> None:
    with pytest.raises(StageError) as caught:
        prepared(tmp_path / "project", Choice("inductor", "fp32"))
    assert [finding.code for finding in caught.value.findings] == ["TK987"]
