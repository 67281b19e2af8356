"""An interrupt ends with 130 and one word, wherever it comes in."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_session import CLONE, Session

from tritonkit.cli.commands import lint


@pytest.mark.parametrize("chain", ["context", "cause", "deep"])
def test_an_interrupt_that_became_another_error(
    session: Session, monkeypatch: pytest.MonkeyPatch, chain: str
) -> None:
    """As when it falls into an import, and the library raises an error of its own on the way out."""

    def interrupted(**_options: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            if chain == "cause":
                raise ValueError("broken schema") from error
            try:
                raise ValueError("broken schema")
            except ValueError:
                if chain == "deep":
                    raise RuntimeError("no module") from None
                raise

    monkeypatch.setattr(lint.command, "callback", interrupted)
    ended = session.quietly("lint")
    assert (ended.status, ended.out, ended.err) == (130, "", "\ninterrupted\n")


def test_bootstrap(tmp_path: Path) -> None:
    """A copy, so that it makes an environment of its own; what it has started is gone too."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "python_backend").mkdir()
    for name in ("scripts/bootstrap.py", "pyproject.toml", "constraints.txt", "python_backend/pyproject.toml"):
        shutil.copy(CLONE / name, tmp_path / name)
    with subprocess.Popen(
        [sys.executable, "scripts/bootstrap.py", "demo"], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        process_group=0,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert process.stderr.readline().startswith("installing the pinned packages")
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stderr.read()  # ends when nobody has the other end open any more
        assert process.wait(20) == 130
    assert rest == "\ninterrupted\n"
