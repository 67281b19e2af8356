"""`tritonkit serve` as a process, with a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_session import At, Session

from deploy.embedded import stubs

pytestmark = pytest.mark.server
TRITONKIT = str(Path(sys.executable).with_name("tritonkit"))
CONFIG = """name: "echo"
backend: "python"
max_batch_size: 0
input [{ name: "x" data_type: TYPE_FP32 dims: [ -1 ] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [ -1 ] }]
instance_group [{ kind: KIND_CPU count: 1 }]
"""
MODEL = "class TritonPythonModel:\n    def execute(self, requests):\n        raise NotImplementedError\n"


def test_a_spec_is_no_argument_of_it(session: Session) -> None:
    ended = session.quietly("serve", "specs/digits.yaml")
    assert ended.status == 1
    assert (
        "`tritonkit render specs/digits.yaml --out FOLDER`, then `tritonkit serve --repository FOLDER`" in ended.err
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a repository of one model, in which nothing is sent."""
    version = tmp_path / "models" / "echo" / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(CONFIG)
    (version / "model.py").write_text(MODEL)
    return tmp_path


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`tritonkit serve` of its repository once it is ready, and the server's process id; interrupted at the end."""
    ports = [word for name in ("http", "grpc", "metrics") for word in (f"--{name}-port", "0")]
    with subprocess.Popen([TRITONKIT, "serve", "--repository", "models", "--json", *ports], cwd=folder,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # fmt: skip
        deadline = threading.Timer(60, process.kill)  # so that a line that never comes fails the test
        deadline.start()
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())["pid"]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
            deadline.cancel()


def told(process: subprocess.Popen[str], beginning: str) -> str:
    """The next line on standard error that begins so; fails when the process ends before."""
    assert process.stderr is not None
    return next(line for line in process.stderr if line.startswith(beginning))


def test_a_python_process_that_ends_is_told(folder: Path, at: At) -> None:
    with serving(folder) as (process, server_pid):
        [stub] = stubs.running(server_pid)
        os.kill(stub.pid, signal.SIGKILL)
        line = told(process, "model `echo`")
        assert line.startswith(
            "model `echo`: its Python process echo_0_0 has ended, and Triton does not start it again"
        )
        session = at(folder)
        ended = session.quietly("status")
        assert ended.status == 1
        assert "echo: a Python process of it has ended" in ended.out
        assert all(line == line.rstrip() for line in ended.out.splitlines())
        [model] = json.loads(session.quietly("status", "--json").out)["models"]
        assert (model["ready"], model["problem"]) == (False, "a Python process of it has ended")
    assert process.returncode == 0


def test_it_serves_where_no_record_can_be_written(folder: Path) -> None:
    (folder / "build").write_text("a file, so no folder can be made in it")
    with serving(folder) as (process, _server_pid):
        line = told(process, str(folder / "build" / "run"))
        assert line.endswith("other commands will need --address\n")
    assert process.returncode == 0
