"""A session at the command line: commands run in this process, and all they print, compared with a text file.

`TRITONKIT_UPDATE=1 .venv/bin/python -m pytest tests/tritonkit/cli` writes the files anew; read their diff.
"""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from generator_projects import SHORT, make_project

import tritonkit.cli
from generator.project import Project
from generator.report import visible

SNAPSHOTS = Path(__file__).parent / "snapshots"
CLONE = Path(__file__).parents[3]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, and what it printed."""

    status: int
    out: str
    err: str


class Session:
    """Runs commands in a folder and writes down what a user sees."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capture = folder, capture
        self._text = ""
        self._plain: dict[str, str] = {str(folder): "PROJECT", str(CLONE): "CLONE"}

    def hide(self, text: str, word: str) -> None:
        """Writes `word` for `text`, which differs from run to run."""
        self._plain[text] = word

    def note(self, sentence: str) -> None:
        """What happens between two commands."""
        self._text += f"# {sentence}\n\n"

    def run(self, *arguments: str) -> Ended:
        """One command, written down."""
        ended = self.quietly(*arguments)
        self._text += f"$ {visible(shlex.join(['tritonkit', *arguments]))}\n"
        for stream, text in (("stdout", ended.out), ("stderr", ended.err)):
            if text:
                self._text += f"[{stream}]\n{text}" + ("" if text.endswith("\n") else "[no line break]\n")
        self._text += f"[exit {ended.status}]\n\n"
        return ended

    def quietly(self, *arguments: str) -> Ended:
        """One command, not written down."""
        self._capture.readouterr()
        status = tritonkit.cli.main(list(arguments))
        seen = self._capture.readouterr()
        return Ended(status, seen.out, seen.err)

    def matches(self, name: str) -> None:
        """Compares everything written down with snapshots/NAME.txt."""
        found = self._text
        for text, word in self._plain.items():
            found = found.replace(text, word)
        assert "Traceback" not in found
        file = SNAPSHOTS / f"{name}.txt"
        if os.environ.get("TRITONKIT_UPDATE"):
            file.write_text(found, encoding="utf-8")
        assert found == file.read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _same_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "_TRITONKIT_COMPLETE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """One short spec with a target `production`, its model and its labels."""
    return make_project(tmp_path / "project", {"small": SHORT})


@pytest.fixture
def at(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Session]:
    """Makes a session in a folder."""

    def made(folder: Path) -> Session:
        monkeypatch.chdir(folder)
        return Session(folder, capsys)

    return made


@pytest.fixture
def session(project: Project, at: Callable[[Path], Session]) -> Session:
    """A session in `project`."""
    return at(project.root)


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port that is held, so nobody else can take it, and on which nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])
