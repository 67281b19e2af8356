"""Sessions in projects made for a test."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_projects import digits_project, model

from generator.project import Project
from generator_projects import make_project

sys.path.insert(0, str(Path(__file__).parent))

from cli_session import QUIET, At, Session


@pytest.fixture(autouse=True)
def _same_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "_TRITONKIT_COMPLETE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """One short spec with a target `production`, of which there is nothing to note, its model and its labels."""
    return make_project(tmp_path / "project", {"small": QUIET})


@pytest.fixture
def at(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> At:
    """Makes a session in a folder."""

    def made(folder: Path) -> Session:
        monkeypatch.chdir(folder)
        return Session(folder, capsys)

    return made


@pytest.fixture
def session(project: Project, at: At) -> Session:
    """A session in `project`."""
    return at(project.root)


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port that is held, so nobody else can take it, and on which nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


@pytest.fixture(scope="module")
def fp16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose engine was built in FP16."""
    import tritonkit.cli

    project = digits_project(tmp_path_factory.mktemp("fp16") / "project", model(precision="fp16"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.root)
        assert tritonkit.cli.main(["build"]) == 0
    return project.root
