"""`tritonkit update` and `tritonkit rollback` where there is no server, and what they refuse."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from cli_session import QUIET, At, Session

from deploy.embedded import processes, state
from deploy.embedded.state import ServerRecord
from generator.project import Project
from tritonkit.cli.servers import RUNS

BOTH = QUIET.replace("onnx: models/net.onnx", "onnx: {1: models/net.onnx, 2: models/net.onnx}")


@pytest.fixture
def spec(project: Project) -> Path:
    """The project's spec, with two versions."""
    file = project.specs / "small.yaml"
    file.write_text(BOTH)
    return file


def test_no_server_runs(session: Session, spec: Path) -> None:
    session.run("update")
    session.note("the spec and the repository follow all the same")
    session.run("rollback", "small", "--dry-run")
    assert spec.read_text() == BOTH
    session.run("rollback", "small")
    assert spec.read_text() == BOTH.replace("2: models/net.onnx}", "2: models/net.onnx}, versions: {specific: [1]}")
    config = session.folder / "model_repository" / "embedded" / "small_engine" / "config.pbtxt"
    assert "specific" in config.read_text()
    assert not (session.folder / "model_repository" / "production").exists(), "it was not rendered before"
    session.run("rollback", "small_engine", "--to", "2", "--json")
    assert "versions: {specific: [2]}" in spec.read_text()
    session.matches("update_no_server")


def test_what_is_refused(session: Session, spec: Path) -> None:
    before = spec.read_text()
    session.run("rollback", "smal")
    session.run("rollback", "small", "--to", "3")
    session.run("rollback", "small", "--to", "0")
    session.run("rollback", "small", "--address", "127.0.0.1:1")
    session.run("update", "--address", "127.0.0.1:1")
    assert spec.read_text() == before
    spec.write_text(QUIET)
    session.run("rollback", "small")
    spec.write_text(QUIET.replace("models/net.onnx", "models/none.onnx"))
    session.run("rollback", "small")
    session.matches("update_refused")


def test_a_target_that_has_errors_is_left(session: Session, spec: Path) -> None:
    session.quietly("render")
    spec.write_text(BOTH.replace("gpu: h200}", "gpu: h200, layout: fused}"))
    ended = session.quietly("rollback", "small")
    assert ended.status == 0, ended.err
    assert "the repository of target `production` stays as it is: its specs have errors" in ended.err
    config = session.folder / "model_repository" / "{}" / "small_engine" / "config.pbtxt"
    assert "specific" in Path(str(config).format("embedded")).read_text()
    assert "specific" not in Path(str(config).format("production")).read_text()


def record_of(project: Project) -> ServerRecord:
    """A server that runs as far as its record tells."""
    ticks = processes.start_ticks(os.getpid()) or 0
    addresses = ("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
    served = str(project.repository("embedded").resolve())
    return ServerRecord(os.getpid(), ticks, *addresses, (served,), "secret", "embedded", "/srv/log")


def test_a_server_of_another_repository_is_not_updated(project: Project, at: At) -> None:
    with state.recorded(project.root / RUNS, replace(record_of(project), repositories=("/srv/models",))):
        ended = at(project.root).quietly("update")
    assert (ended.status, ended.out) == (1, "")
    assert "error: the server at 127.0.0.1:1 serves /srv/models, which no spec of this project renders" in ended.err


def test_a_server_that_does_not_answer(project: Project, at: At, spec: Path) -> None:
    with state.recorded(project.root / RUNS, record_of(project)):
        for command in (["update"], ["update", "--address", "localhost:2"], ["rollback", "small", "--to", "1"]):
            ended = at(project.root).quietly(*command)
            assert (ended.status, ended.out) == (1, "")
            assert "error: the server at 127.0.0.1:2 does not answer (gRPC)" in ended.err
    assert spec.read_text() == BOTH, "what was not loaded is not left in the spec"
    assert not project.repository("embedded").exists()
