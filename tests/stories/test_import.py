"""A repository that somebody wrote by hand is imported, rendered, served, and answers as it did."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from story_tools import render_to, running, tritonkit

from deploy.embedded.needs import needs_of_repository
from deploy.embedded.server import EmbeddedServer
from generator.project import Project
from tritonkit import Pipeline

pytestmark = pytest.mark.server

SCALE_PY = """\
import json

import numpy as np
import triton_python_backend_utils as pb_utils

from helper import scaled


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.factor = float(config["parameters"]["factor"]["string_value"])
        self.version = int(args["model_version"])

    def execute(self, requests):
        answers = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            y = scaled(x, self.factor * self.version).astype(np.float32)
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", y)]))
        return answers
"""
HELPER_PY = "def scaled(x, factor):\n    return x * factor\n"
SUM_PY = """\
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "values").as_numpy()
            words = np.array([[f"{value:.1f}"] for value in x.sum(axis=1)], dtype=np.object_)
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("text", words)]))
        return answers
"""
SCALE = """\
# Multiplies. Version 2 does it twice as much.
name: "scale"
backend: "python"
max_batch_size: 8
input [ { name: "IN" data_type: TYPE_FP32 dims: [ 3 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 3 ] } ]
version_policy { all { } }
dynamic_batching { max_queue_delay_microseconds: 200 }
instance_group [ { kind: KIND_CPU count: 2 } ]
parameters { key: "factor" value { string_value: "1.5" } }
model_warmup { name: "first" batch_size: 2 count: 1 inputs { key: "IN" value { data_type: TYPE_FP32 dims: [ 3 ] input_data_file: "ones" } } }
"""
SUM = """\
backend: "python"
max_batch_size: 16
input { name: "values" data_type: TYPE_FP32 dims: -1 }
output { name: "text" data_type: TYPE_STRING dims: 1 }
instance_group { }
metric_tags { key: "team" value: "sums" }
"""
REPORT = """\
name: "report"
platform: "ensemble"
max_batch_size: 4
input { name: "numbers" data_type: TYPE_FP32 dims: 3 }
output { name: "answer" data_type: TYPE_STRING dims: 1 }
ensemble_scheduling {
  step {
    model_name: "scale" model_version: 1
    input_map { key: "IN" value: "numbers" } output_map { key: "OUT" value: "scaled" }
  }
  step {
    model_name: "sum" model_version: -1
    input_map { key: "values" value: "scaled" } output_map { key: "text" value: "answer" }
  }
}
"""
# No name and no batches.
ECHO = """\
backend: "python"
input { name: "x" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "y" data_type: TYPE_INT32 dims: [ 1 ] }
"""
ECHO_PY = """\
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        found = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", x + 1)]) for x in found]
"""
NUMBERS = np.array([[1, 2, 3], [4, 5.5, 6]], np.float32)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository written by hand."""
    root = tmp_path_factory.mktemp("theirs") / "legacy"
    files: dict[str, str | bytes] = {
        "scale/config.pbtxt": SCALE, "scale/1/model.py": SCALE_PY, "scale/2/model.py": SCALE_PY,
        "scale/1/helper.py": HELPER_PY, "scale/2/helper.py": HELPER_PY, "scale/warmup/ones": np.ones((2, 3), np.float32).tobytes(),
        "sum/config.pbtxt": SUM, "sum/1/model.py": SUM_PY,
        "report/config.pbtxt": REPORT, "report/1/.gitkeep": "", "echo/config.pbtxt": ECHO, "echo/3/model.py": ECHO_PY,
    }  # fmt: skip
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return root


@contextmanager
def by_hand(repository: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(repository, needs_of_repository(repository))
    try:
        server.start()
        yield server
    finally:
        server.stop(grace_s=0)


def asked(address: str, http_address: str) -> dict[str, Any]:
    """Answers of every model and version, and the configurations that the server has."""
    calls: list[tuple[str, str | None, list[Any]]] = [
        ("report", None, list(NUMBERS)), ("scale", "1", list(NUMBERS)), ("scale", "2", list(NUMBERS)),
        ("sum", None, list(NUMBERS)), ("echo", None, [np.array([41], np.int32)]),
    ]  # fmt: skip
    found: dict[str, Any] = {}
    for name, version, items in calls:
        with Pipeline(name, address, version=version) as pipeline:
            answers = pipeline.infer(items)
        assert [answer.error for answer in answers] == [None] * len(items)
        outputs = [{output: value.tolist() for output, value in answer.outputs.items()} for answer in answers]
        with urllib.request.urlopen(f"http://{http_address}/v2/models/{name}/config", timeout=10) as reply:
            found[f"{name} {version}"] = (outputs, json.load(reply))
    return found


def test_it_answers_as_it_did(theirs: Path, tmp_path: Path) -> None:
    with by_hand(theirs) as server:
        before = asked(server.grpc_address, server.http_address)
    assert [answer["answer"] for answer in before["report None"][0]] == [["9.0"], ["23.2"]]
    assert before["scale 2"][0][0] == {"OUT": [3.0, 6.0, 9.0]}
    assert before["echo None"][0] == [{"y": [42]}]

    clone = tmp_path / "clone"
    clone.mkdir()
    done = tritonkit(clone, "import", str(theirs))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "specs/echo.yaml: a model", "specs/report.yaml: an ensemble and its models scale, sum",
    ]  # fmt: skip
    with running(render_to(tmp_path / "ours", Project(clone))) as again:
        after = asked(again.server.grpc_address, again.server.http_address)
    assert after == before


def test_the_whole_way_at_the_command_line(theirs: Path, tmp_path: Path) -> None:
    done = tritonkit(tmp_path, "import", str(theirs), "--target", "embedded")
    assert done.returncode == 0, done.stderr
    for arguments in (["lint"], ["render"], ["render", "--check"]):
        done = tritonkit(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
    files = {
        file.relative_to(theirs) for file in theirs.rglob("*") if file.is_file() and "__pycache__" not in file.parts
    }
    ours = tmp_path / "model_repository" / "embedded"
    for file in files - {Path("report/1/.gitkeep")}:
        assert (ours / file).is_file(), file
