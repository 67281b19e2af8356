"""Documents, a tiny ONNX file and a real server for the tests of what runs inside the server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

READY_SECONDS = 60


@pytest.fixture(scope="session")
def document() -> Callable[..., dict[str, Any]]:
    """Makes a tritonkit.json document; keyword arguments replace its fields."""

    def make(**fields: Any) -> dict[str, Any]:
        return {
            "format": 1,
            "pipeline": "digits",
            "model": "digits_preprocess",
            "max_batch_size": 32,
            "inputs": [{"name": "image", "dtype": "STRING", "dims": [1]}],
            "outputs": [{"name": "pixels", "dtype": "FP32", "dims": [8, 8, 1]}],
            "limits": {"max_bytes": 1_000_000, "max_pixels": 100_000},
            "program": {
                "kind": "steps",
                "steps": [
                    {"step": "decode", "to": "gray"},
                    {"step": "resize", "size": [8, 8], "method": "linear"},
                    {"step": "normalize", "mean": 0, "std": 255},
                ],
            },
            **fields,
        }

    return make


@pytest.fixture(scope="session")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file: x FP32 [batch, 4] -> total FP32 [batch, 1], doubled FP32 [batch, 4]."""
    path = tmp_path_factory.mktemp("onnx") / "sums.onnx"
    save_sums(path, "batch")
    return path


@pytest.fixture(scope="session")
def save_onnx() -> Callable[[Path, str | int], None]:
    """Writes the `sums` graph with another first axis."""
    return save_sums


def save_sums(path: Path, first_axis: str | int) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["x", "axes"], ["total"], keepdims=1),
            helper.make_node("Add", ["x", "x"], ["doubled"]),
        ],
        "sums",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [first_axis, 4])],
        [
            helper.make_tensor_value_info("total", TensorProto.FLOAT, [first_axis, 1]),
            helper.make_tensor_value_info("doubled", TensorProto.FLOAT, [first_axis, 4]),
        ],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


@dataclass(frozen=True)
class Server:
    """Where a running server listens, and its log."""

    http: str
    grpc: str
    log: Path


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """A context manager that runs the embedded server on a repository; it yields a Server."""

    @contextmanager
    def run(repository: Path) -> Iterator[Server]:
        folder = tmp_path_factory.mktemp("server")
        (folder / "empty").mkdir()
        http, grpc = free_ports(2)
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command(folder, repository, http, grpc),
                env=environment(),
                cwd=folder / "empty",
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until_ready(process, f"http://127.0.0.1:{http}/v2/health/ready", log)
            yield Server(f"127.0.0.1:{http}", f"127.0.0.1:{grpc}", log)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    return run


def wheel() -> Path:
    import pytriton

    return Path(pytriton.__file__).parent / "tritonserver"


def command(folder: Path, repository: Path, http: int, grpc: int) -> list[str]:
    """The server's argv; its backends are copied, with the stub of this interpreter beside the Python backend."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copytree(wheel() / "backends", folder / "backends")
    stub = wheel() / "python_backend_stubs" / python / "triton_python_backend_stub"
    shutil.copy2(stub, folder / "backends" / "python")
    return [
        str(wheel() / "bin" / "tritonserver"),
        f"--model-repository={repository}",
        f"--backend-directory={folder / 'backends'}",
        "--model-control-mode=none",
        "--disable-auto-complete-config",
        "--http-address=127.0.0.1",
        f"--http-port={http}",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={grpc}",
        "--allow-metrics=false",
    ]


def environment() -> dict[str, str]:
    libraries = [
        str(wheel().parents[1] / "nvidia_pytriton.libs"),
        str(sysconfig.get_config_var("LIBDIR")),
        os.environ.get("LD_LIBRARY_PATH", ""),
    ]
    programs = [str(Path(sys.prefix) / "bin"), os.environ.get("PATH", "")]
    return {
        **os.environ,
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
        "PATH": os.pathsep.join(filter(None, programs)),
    }


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the server did not become ready; its log:\n{log.read_text(errors='replace')}")
