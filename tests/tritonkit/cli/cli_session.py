"""A session at the command line: commands run in this process, and all they print, compared with a text file.

`TRITONKIT_UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/tritonkit/cli` writes the files anew; read their diff.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import tritonkit.cli
from generator.report import visible
from generator_projects import SHORT

SNAPSHOTS = Path(__file__).parent / "snapshots"
CLONE = Path(__file__).parents[3]
QUIET = (
    SHORT.replace("kind: gpu", "kind: cpu")
    .replace(", queue: {max_size: 256}", "")
    .replace("gpu: h200}", "gpu: h200, instances: [{kind: gpu, count: 2}]}")
)


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
        if os.environ.get("TRITONKIT_UPDATE_GOLDEN"):
            file.write_text(found, encoding="utf-8")
        assert found == file.read_text(encoding="utf-8")


At = Callable[[Path], Session]


def refused(ended: Ended, code: str, words: str) -> None:
    """It ended with this error of a spec, and said the words (a regular expression)."""
    assert ended.status == 1, ended.err
    assert f"error[{code}]: specs/" in ended.err
    assert re.search(words, ended.err)
    assert "Traceback" not in ended.err
