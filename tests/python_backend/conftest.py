"""Documents, a tiny ONNX file and a real server for the tests of what runs inside the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from deploy.embedded.flags import ServerNeeds
from deploy.embedded.server import EmbeddedServer


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
        log = tmp_path_factory.mktemp("server") / "log"
        server = EmbeddedServer(repository, ServerNeeds(restricted_apis=()), log_path=log)
        try:
            server.start()
            yield Server(server.http_address, server.grpc_address, log)
        finally:
            server.stop(grace_s=0)

    return run
