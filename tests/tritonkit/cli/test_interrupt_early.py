"""Ctrl-C in the first moments of a command: one word and 130, while modules are still being imported too."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from engine_projects import digits_project, int8

from generator.project import Project

# As the console script does it. SIGINT is what a terminal's child has: a shell's background job ignores it.
_START = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
def hook(event, arguments):
    if event == "import" and arguments[0] == MODULE:
        DO
sys.addaudithook(hook)
from tritonkit.cli import main
main()
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A build that calibrates, so that it is not over before the last of the moments."""
    return digits_project(tmp_path_factory.mktemp("early") / "project", int8(mixed=True))


def start(project: Project, module: str, do: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A command that does `do` right before it imports `module`."""
    code = _START.replace("MODULE", repr(module)).replace("DO", do)
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=project.root, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def is_interrupted(process: subprocess.Popen[bytes]) -> None:
    out, err = process.communicate(timeout=60)
    assert b"Traceback" not in err
    assert b"Error" not in err
    assert err.endswith(b"\ninterrupted\n")
    assert (process.returncode, out) == (130, b"")


@pytest.mark.parametrize(
    "module",
    [
        "tritonkit.cli.signals", "tritonkit.cli.failures", "click", "click.core", "generator.problems",
        "tritonkit.cli.group", "yaml", "pydantic", "pydantic_core",
        "generator.load", "generator.spec.models", "generator.workspace", "numpy",
    ],
)  # fmt: skip
def test_while_a_module_is_imported(project: Project, module: str) -> None:
    is_interrupted(start(project, module, "os.kill(os.getpid(), signal.SIGINT)", "build"))


@pytest.mark.parametrize("after_ms", [0, 1, 3, 10, 20, 40, 70, 110, 160, 220, 300])
def test_at_some_moment(digits: Project, after_ms: int) -> None:
    """The first module that `main` imports says that it has begun: what is before is Python's own start."""
    process = start(digits, "tritonkit.cli.signals", "os.write(1, b'.')", "build")
    assert process.stdout is not None
    assert process.stdout.read(1) == b"."
    time.sleep(after_ms / 1000)
    process.send_signal(signal.SIGINT)
    is_interrupted(process)


def test_where_python_cannot_raise_it() -> None:
    """In what runs while an object is freed, as the locks of imports are: it comes again, and nothing is printed."""
    code = """
import signal, time
from tritonkit.cli.signals import interrupts_end_it, interrupts_kill_it
signal.signal(signal.SIGINT, signal.default_int_handler)
interrupts_end_it()
class Freed:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it is raised here")
try:
    Freed()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.001)
except KeyboardInterrupt:
    print("came")
class Broken:
    def __del__(self):
        raise ValueError("as Python tells it")
Broken()
interrupts_kill_it()
signal.raise_signal(signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" not in done.stderr
    assert "ValueError: as Python tells it" in done.stderr
