"""What can be seen of a real process alone: imports, pipes, a full disk, colours on a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from generator.project import Project

TRITONKIT = str(Path(sys.executable).with_name("tritonkit"))
HEAVY = {
    "numpy",
    "pydantic",
    "onnx",
    "onnxruntime",
    "tritonclient",
    "rich",
    "jinja2",
    "yaml",
    "google",
    "grpc",
    "cv2",
}
FULL = Path("/dev/full")


def environment(**more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}}
    return plain | {"TERM": "xterm", **more}


def run(
    root: Path, *arguments: str, stdout: int | IO[str] = subprocess.PIPE, stderr: int | IO[str] = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TRITONKIT, *arguments], cwd=root, env=environment(), stdout=stdout, stderr=stderr,
                          text=True, timeout=60, check=False)  # fmt: skip


def on_a_terminal(root: Path, *arguments: str, **more: str) -> str:
    """All that a command writes to a terminal of 100 columns, on both streams."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([TRITONKIT, *arguments], cwd=root, env=environment(COLUMNS="100", **more),
                          stdin=theirs, stdout=theirs, stderr=theirs) as process:  # fmt: skip
        os.close(theirs)
        written = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # EIO: nobody has the other end open
                break
            if not piece:
                break
            written += piece
        process.wait(60)
    os.close(ours)
    return written.decode()


@pytest.mark.parametrize("arguments", [["-h"], ["--version"], [], ["bogus"], ["completion", "fish"]], ids=str)
def test_no_heavy_import(arguments: list[str]) -> None:
    """So that help, and the shell's completion, answer at once."""
    code = (
        "import sys, tritonkit.cli\n"
        f"status = tritonkit.cli.main({arguments!r})\n"
        f"print(sorted({HEAVY!r} & {{name.partition('.')[0] for name in sys.modules}}), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_exit_statuses_and_streams(project: Project) -> None:
    fine = run(project.root, "render", "--target", "embedded")
    assert (fine.returncode, fine.stdout) == (0, "")
    assert fine.stderr == "embedded: model_repository/embedded: 12 written, 0 unchanged\n"
    assert run(project.root, "render", "--check", "--target", "embedded").returncode == 0
    assert run(project.root, "render", "--check").returncode == 1
    assert run(project.root, "bogus").returncode == 1
    assert run(project.root, "lint", "none.yaml").returncode == 1


def test_our_own_mistake_is_2_with_a_traceback(project: Project) -> None:
    code = "import tritonkit.cli.commands.lint as l, tritonkit.cli as c; l.command.callback = lambda **_: 1 / 0; c.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "lint"],
        cwd=project.root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "ZeroDivisionError" in done.stderr
    assert done.stderr.endswith("please report it with the lines above.\n")


@pytest.mark.parametrize("arguments", [["schema"], ["-h"], ["render", "-h"], ["render", "--show-plan"], ["doctor"], ["completion", "bash"]], ids=str)  # fmt: skip
def test_the_reader_goes_away(project: Project, arguments: list[str]) -> None:
    """`tritonkit … | head -1`, with a reader that is gone before the first line."""
    reading, writing = os.pipe()
    os.close(reading)
    done = run(project.root, *arguments, stdout=writing)
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 0


def test_a_pipeline_of_the_shell(project: Project) -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{TRITONKIT} schema | head -1; {TRITONKIT} lint none 2>&1 | head -1"],
        cwd=project.root, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "{\nerror[TK101]: none\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments", [["schema"], ["-h"], ["render", "--show-plan"], ["lint", "--format", "json"]], ids=str
)
def test_a_full_disk(project: Project, arguments: list[str]) -> None:
    with FULL.open("w") as full:
        done = run(project.root, *arguments, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "error: the output cannot be read or written: no space left on device\n"


def test_nothing_can_be_said(project: Project) -> None:
    """Standard error is full or closed: the exit status is what is left."""
    with FULL.open("w") as full:
        assert run(project.root, "lint", "none", stderr=full).returncode == 1
        assert run(project.root, "lint", "none", stdout=full, stderr=full).returncode == 1
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        done = subprocess.run(["bash", "-c", f"{TRITONKIT} lint none {closed}; echo $?"], cwd=project.root,
                              capture_output=True, text=True, timeout=60, check=True)  # fmt: skip
        assert done.stdout == "1\n"
        assert "Traceback" not in done.stderr


def test_colours_are_for_terminals(project: Project) -> None:
    assert "\x1b[1;31merror[TK101]\x1b[0m" in on_a_terminal(project.root, "lint", "none")
    assert "\x1b[31m" in on_a_terminal(project.root, "infer", "small", "x")
    assert "\x1b" not in run(project.root, "lint", "none").stderr
    for off in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        for arguments in (["lint", "none"], ["infer", "small", "x"], ["doctor"], ["-h"]):
            assert "\x1b" not in on_a_terminal(project.root, *arguments, **off)
    assert "\x1b" in on_a_terminal(project.root, "lint", "none", NO_COLOR="")


def test_a_terminal_shows_the_same_words(project: Project) -> None:
    shown = re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal(project.root, "lint", "none", "specs/small.yaml"))
    assert shown.replace("\r\n", "\n") == run(project.root, "lint", "none", "specs/small.yaml").stderr


def test_another_encoding_of_the_output(project: Project) -> None:
    """A character that the output's encoding lacks is escaped, and stops nothing."""
    odd = project.specs / "日.yaml"
    odd.write_text("name: 日\n", encoding="utf-8")
    done = subprocess.run([TRITONKIT, "lint", "specs/日.yaml", "--format", "github"], cwd=project.root,
                          env=environment(PYTHONIOENCODING="latin-1"), capture_output=True, timeout=60, check=False)  # fmt: skip
    assert done.returncode == 1
    assert b"file=specs/\\u65e5.yaml" in done.stdout
