"""A mistake in a spec: all of them are told at once, and no server starts."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import psutil
import pytest
from story_tools import CLONE, command_line, make_project

pytestmark = pytest.mark.server

TOPMOST = (CLONE / "specs" / "digits.yaml").read_text()


@pytest.mark.timeout(20)  # it takes a second; a server that starts and waits would take for ever
def test_serve_tells_every_mistake_and_starts_nothing(tmp_path: Path) -> None:
    specs = {
        "first.yaml": TOPMOST.replace("batching: {max_batch_size", "batching: {max_bach_size").replace(
            "engine: onnxruntime", "engine: onnxrunttime"
        ),
        "second.yaml": TOPMOST.replace("name: digits", "name: second").replace("digits.onnx", "digit.onnx"),
        "third.yaml": TOPMOST.replace("name: digits", "name: third").replace("size: [8, 8]", "size: [9, 9]"),
    }
    project = make_project(tmp_path / "project", specs)
    process = subprocess.Popen(
        command_line("serve", "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"),
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started: set[str] = set()
    with process:
        while process.poll() is None:  # the test's own timeout ends a server that did start
            with contextlib.suppress(psutil.NoSuchProcess):
                started |= {child.name() for child in psutil.Process(process.pid).children(recursive=True)}
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == 1
    assert out == "", "no address is printed"
    assert started == set()
    for said in (
        "specs/first.yaml:", "`max_bach_size`", "max_batch_size", "onnxrunttime", "onnxruntime",
        "specs/second.yaml:", "there is no file `models/digit.onnx`",
        "specs/third.yaml:", "FP32 [9, 9, 1]", "`pixels` is FP32 [1, 8, 8]",
    ):  # fmt: skip
        assert said in err, err
    assert "Traceback" not in err
    assert not (project.root / "model_repository").exists()
    assert not (project.root / "build").exists()
