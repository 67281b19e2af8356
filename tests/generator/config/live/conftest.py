"""One real server for the tests of this folder, in explicit mode: models are loaded one by one."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

# Found without being imported: that alone would take seconds.
WHEEL = Path(str(importlib.util.find_spec("pytriton").origin)).parent
READY_S, LOAD_S, STOP_S = 60, 30, 15
MODEL = """import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        out = lambda r: pb_utils.Tensor("y", pb_utils.get_input_tensor_by_name(r, "x").as_numpy())
        return [pb_utils.InferenceResponse([out(r)]) for r in requests]
"""


def backends(into: Path) -> Path:
    """A copy of the wheel's Python backend with the stub of this interpreter."""
    shutil.copytree(WHEEL / "tritonserver" / "backends" / "python", into / "python")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = WHEEL / "tritonserver" / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy2(stub, into / "python")
    return into


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Server:
    """The running server: `load` writes a model and loads it, `log` is what stands on stderr so far."""

    def __init__(self, repository: Path, client: InferenceServerClient, log_file: Path) -> None:
        self.repository, self.client, self.log_file = repository, client, log_file

    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def load(self, name: str, text: str, files: dict[str, bytes] | None = None) -> str:
        """Empty when the model is ready; else why the server refuses it, with what it logs about that."""
        before = len(self.log())
        folder = self.repository / name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "1").mkdir(parents=True)
        (folder / "config.pbtxt").write_text(text, encoding="utf-8")
        for path, content in ({"1/model.py": MODEL.encode()} | (files or {})).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        try:
            self.client.load_model(name, client_timeout=LOAD_S)
        except InferenceServerException as error:
            return f"{error.message()}\n{self.log()[before:]}"
        return ""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("server")
    for name in ("models", "empty", "backends"):
        (home / name).mkdir()
    http, grpc = free_ports(2)
    libraries = [str(WHEEL.parent / "nvidia_pytriton.libs"), str(sysconfig.get_config_var("LIBDIR"))]
    arguments = [
        str(WHEEL / "tritonserver" / "bin" / "tritonserver"), f"--model-repository={home / 'models'}",
        f"--backend-directory={backends(home / 'backends')}", "--model-control-mode=explicit",
        "--http-address=127.0.0.1", f"--http-port={http}", "--grpc-address=127.0.0.1", f"--grpc-port={grpc}",
        "--allow-metrics=false", "--disable-auto-complete-config",
        # A model that could not be created counts as live: the server would wait for it until the default of 30 s.
        "--exit-timeout-secs=2",
    ]  # fmt: skip
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": ":".join(libraries),
        "CUDA_VISIBLE_DEVICES": "",  # the same answers on a machine with GPUs
    }
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(arguments, cwd=home / "empty", env=environment, stdout=log, stderr=log)
    try:
        with InferenceServerClient(f"127.0.0.1:{grpc}") as client:
            wait_until_ready(process, client, home / "log")
            yield Server(home / "models", client, home / "log")
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], client: InferenceServerClient, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if client.is_server_ready():
                return
        except InferenceServerException:
            pass
        time.sleep(0.05)  # between two questions; the deadline is above
    pytest.fail(f"the server is not ready after {READY_S} s:\n{log.read_text(errors='replace')[-4000:]}")
