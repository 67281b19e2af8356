"""Model repositories written by hand, and a look at what a server leaves behind."""

from __future__ import annotations

import http.client
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.embedded.flags import ServerNeeds
from deploy.embedded.server import EmbeddedServer

CONFIG = """name: "{name}"
backend: "python"
max_batch_size: 0
input [{{ name: "x" data_type: TYPE_FP32 dims: [ -1 ] }}]
output [{{ name: "y" data_type: TYPE_FP32 dims: [ -1 ] }}]
instance_group [{{ kind: KIND_CPU count: {instances} }}]
"""

MODEL = """import time
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        {initialize}

    def execute(self, requests):
        {execute}
        tensors = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", tensor * 2)]) for tensor in tensors]
"""


@dataclass(frozen=True)
class Repository:
    """A model repository under construction."""

    path: Path

    def model(
        self, name: str = "double", *, initialize: str = "pass", execute: str = "pass", instances: int = 1
    ) -> Path:
        """Add a model that doubles its input; return its directory."""
        directory = self.path / name
        (directory / "1").mkdir(parents=True)
        (directory / "config.pbtxt").write_text(CONFIG.format(name=name, instances=instances))
        source = MODEL.format(initialize=initialize, execute=execute)
        (directory / "1" / "model.py").write_text(source)
        return directory


@pytest.fixture(autouse=True)
def temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The logs of failed servers are kept, so they go where pytest cleans up."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    path = tmp_path / "models"
    path.mkdir()
    return Repository(path)


@pytest.fixture(scope="module")
def shared_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    Repository(path).model()
    return path


@pytest.fixture(scope="module")
def shared_server(shared_repository: Path) -> Iterator[EmbeddedServer]:
    """One server for tests that change nothing."""
    with EmbeddedServer(shared_repository, ServerNeeds(longest_request_ms=1000)) as server:
        yield server
        server.stop(grace_s=0)


def eventually(condition: Callable[[], Any], timeout_s: float = 10.0) -> bool:
    """Poll until the condition holds; False if it does not within the time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def segments(prefix: str) -> list[str]:
    return [path.name for path in Path("/dev/shm").glob(f"{prefix}*")]


def processes_of(prefix: str) -> list[psutil.Process]:
    """The server and its stubs: all have the prefix of its segments in their command lines."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(
            prefix in word for word in process.info["cmdline"] or []
        ):
            found.append(process)
    return found


def nothing_left(prefix: str) -> bool:
    return not processes_of(prefix) and not segments(prefix)


def request(
    address: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    """One HTTP request; the status, and the answer as JSON where it is JSON."""
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers or {})
        answer = connection.getresponse()
        text = answer.read().decode()
        return answer.status, json.loads(text) if text.startswith(("{", "[")) else text
    finally:
        connection.close()


def double(address: str, values: list[float], model: str = "double") -> list[float]:
    """Send values through a model that doubles them."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [len(values)], "data": values}
    status, answer = request(address, "POST", f"/v2/models/{model}/infer", {"inputs": [tensor]})
    assert status == 200, answer
    data: list[float] = answer["outputs"][0]["data"]
    return data


@pytest.fixture
def look() -> Look:
    return Look()


class Look:
    """The helpers above, for tests (files of tests do not import one another)."""

    eventually = staticmethod(eventually)
    segments = staticmethod(segments)
    processes_of = staticmethod(processes_of)
    nothing_left = staticmethod(nothing_left)
    request = staticmethod(request)
    double = staticmethod(double)


@pytest.fixture
def listening() -> Iterator[int]:
    """A port that this very process listens on."""
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]
