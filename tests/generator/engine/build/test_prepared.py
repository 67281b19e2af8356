"""Where an engine cannot be compiled, its graph and the commands that compile it elsewhere are written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
import yaml
from engine_projects import digits_project, model

from generator.engine.build.candidates.choices import Choice
from generator.engine.build.candidates.profiles import profiles_of
from generator.engine.build.gate.judge import Judge
from generator.engine.build.jobs import jobs_of
from generator.engine.build.lower.lowerer import Lowerer
from generator.engine.build.prepared.files import prepare
from generator.engine.cache import Cache
from generator.engine.compile.base import Profile, Settings, ShapeRange
from generator.engine.compile.trtexec import arguments
from generator.engine.errors import StageError
from generator.workspace import open_workspace

PRODUCTION = {"server": "26.07", "engine": "tensorrt", "precision": "fp16", "gpu": "h200"}


def prepared(root: Path, choice: Choice, given: Sequence[Profile] | None = None) -> Path:
    project = digits_project(root, {"targets": {"production": PRODUCTION}})
    [job] = jobs_of(open_workspace(project, target="production"))
    model, graph = job.read(project)
    profiles = profiles_of(job, model) if given is None else given
    lowerer = Lowerer(job, model, Judge(job, graph, project, profiles), project, Cache(root / "cache"))
    return prepare(job, choice, profiles, lowerer, project=project, progress=lambda _text: None).folder


def test_the_graph_and_the_commands_are_written(tmp_path: Path) -> None:
    folder = prepared(tmp_path / "project", Choice("tensorrt", "fp16"))
    assert folder == tmp_path.joinpath("project", "build", "engines", "prepared", "production", "digits_engine", "1")
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "build.sh", "job.yaml"}
    onnx.checker.check_model(onnx.load(folder / "model.onnx"))
    assert "trtexec" in (folder / "build.sh").read_text()
    assert {part["kind"] for part in yaml.safe_load_all((folder / "job.yaml").read_text())} >= {"Job"}
    assert not (tmp_path / "project" / "engines").exists()


def test_plugins_lie_beside_the_graph(tmp_path: Path) -> None:
    root = tmp_path / "project"
    project = digits_project(
        root, {"targets": {"production": PRODUCTION}, **model(build={"plugins": ["plugins/x.so"]})}
    )
    (root / "plugins").mkdir()
    (root / "plugins" / "x.so").write_bytes(b"a library")
    [job] = jobs_of(open_workspace(project, target="production"))
    read, graph = job.read(project)
    profiles = profiles_of(job, read)
    lowerer = Lowerer(job, read, Judge(job, graph, project, profiles), project, Cache(root / "cache"))
    choice = Choice("tensorrt", "fp16")
    folder = prepare(job, choice, profiles, lowerer, project=project, progress=lambda _text: None).folder
    assert (folder / "plugin-0-x.so").read_bytes() == b"a library"
    assert "--staticPlugins=./plugin-0-x.so" in (folder / "build.sh").read_text()
    assert "--staticPlugins=/work/plugin-0-x.so" in (folder / "job.yaml").read_text()
    assert not any(str(tmp_path) in (folder / name).read_text() for name in ("build.sh", "job.yaml"))


def test_other_engines_have_no_command(tmp_path: Path) -> None:
    with pytest.raises(StageError) as caught:
        prepared(tmp_path / "project", Choice("inductor", "fp32"))
    assert [finding.code for finding in caught.value.findings] == ["TK987"]


def test_the_script_gives_trtexec_each_argument_as_it_is(tmp_path: Path) -> None:
    name = "serving(x) $HOME's `y`"
    profile = {name: ShapeRange((1, 64), (2, 64), (8, 64))}
    folder = prepared(tmp_path / "my project", Choice("tensorrt", "fp16"), [profile])
    program = tmp_path / "my trtexec"
    program.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    program.chmod(0o755)
    environment = {**os.environ, "TRTEXEC": str(program)}
    done = subprocess.run(
        [folder / "build.sh"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    given = done.stdout.splitlines()
    assert given == arguments(Settings("fp16", [profile]), 10, ".")
    assert f"--maxShapes={name}:8x64" in given
