"""Commands where the packages of an extra are not installed: one sentence, and the line that installs them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from cli_session import CLONE, At, Ended, Session
from engine_projects import digits_project, model

from generator.extras import install

DIGITS = CLONE / "models" / "digits.onnx"


@pytest.fixture
def bare(session: Session, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session in a project with digits.onnx, where ONNX Runtime is not installed."""
    shutil.copy(DIGITS, session.folder / "digits.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    return session


def tells(ended: Ended) -> None:
    assert ended.status == 1, ended.err
    said = " ".join((ended.err + ended.out).split())
    assert f"the package `onnxruntime` is not installed; `{install('build')}` in the clone brings it" in said
    assert "TK961" in said
    for never in ("Traceback", "TK906", "report it", "No module named"):
        assert never not in said


@pytest.mark.parametrize("command", ["profile digits.onnx", "inspect digits.onnx"])
def test_a_graph_without_onnx_runtime(bare: Session, command: str) -> None:
    tells(bare.quietly(*command.split()))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_build_without_onnx_runtime(
    at: At, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    project = digits_project(tmp_path / "digits", model(precision=precision))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    tells(at(project.root).quietly("build", "--target", "embedded"))


def test_the_demonstration_without_onnx_runtime(at: At, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is rendered or started; the line brings the server too."""
    project = digits_project(tmp_path / "digits")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    ended = at(project.root).quietly("demo")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.endswith(
        "error: the demonstration needs ONNX Runtime, which is not installed here\n\n"
        f"hint: `{install('embedded,load')}` in the clone brings it\n"
    )
    assert not (project.root / "build" / "demo").exists()


def test_a_command_that_finds_out_late(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """No module of ours has looked: the import itself fails."""
    from tritonkit.cli.commands import lint

    def fails(*_: object, **__: object) -> None:
        import onnxruntime  # noqa: F401

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(lint.command, "callback", fails)
    ended = session.quietly("lint")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == (
        "error: this needs the package `onnxruntime`, which is not installed here\n\n"
        f"hint: `{install('build')}` in the clone brings it\n"
    )


def test_a_module_of_ours_that_is_not_there_is_our_mistake(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from tritonkit.cli.commands import lint

    def fails(*_: object, **__: object) -> None:
        import tritonkit.no_such_module  # type: ignore[import-not-found]  # noqa: F401

    monkeypatch.setattr(lint.command, "callback", fails)
    ended = session.quietly("lint")
    assert ended.status == 2
    assert "This is a mistake in tritonkit" in ended.err
