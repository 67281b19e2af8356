"""Servers that treat their first inferences badly, over HTTP and gRPC, and serve the others."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

CONFIG = {
    "name": "echo", "max_batch_size": 0,
    "input": [{"name": "data", "data_type": "TYPE_FP32", "dims": [1]}],
    "output": [{"name": "text", "data_type": "TYPE_FP32", "dims": [1]}],
}  # fmt: skip

_ENVOY = "upstream connect error or disconnect/reset before headers. reset reason: "
ENVOY = {
    "reset behind envoy": f"{_ENVOY}connection termination",
    "no connection behind envoy": f"{_ENVOY}remote connection failure, transport failure reason: delayed connect error: 111",
    "overflow of envoy": f"{_ENVOY}overflow",
}  # fmt: skip
"""What an Envoy says with 503 or UNAVAILABLE of the server behind it."""


@dataclass
class Refusing:
    """A server that treats its first inferences badly, `kind` says how, and answers the others."""

    kind: str
    bad: int
    seen: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def treats_badly(self) -> bool:
        """Counts one more inference."""
        with self.lock:
            self.seen += 1
            return self.seen <= self.bad


def _http_body(reply: dict[str, Any], status: bytes = b"200 OK") -> bytes:
    body = json.dumps(reply).encode()
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        len(body),
        body,
    )


def _serve_http(connection: socket.socket, server: Refusing) -> None:
    answer = {"name": "text", "datatype": "FP32", "shape": [1], "data": [7.0]}
    with connection, contextlib.suppress(OSError), connection.makefile("rb") as requests:
        while line := requests.readline():
            headers = dict(_header(each) for each in iter(requests.readline, b"\r\n"))
            requests.read(int(headers.get(b"content-length", 0)))
            if b"/infer" not in line:
                connection.sendall(_http_body(CONFIG))
            elif not server.treats_badly():
                connection.sendall(_http_body({"model_name": "echo", "outputs": [answer]}))
            elif server.kind == "busy":
                connection.sendall(_http_body({"error": "Exceeds maximum queue size"}, b"503 Service Unavailable"))
            elif server.kind in ENVOY:
                said = ENVOY[server.kind].encode()
                head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
                connection.sendall(head % len(said) + said)
            else:
                return


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.strip().lower(), value.strip()


@contextlib.contextmanager
def http_server(server: Refusing, port: int = 0) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", port)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=_serve_http, args=(connection, server), daemon=True).start()

        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()


class _Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    def __init__(self, server: Refusing) -> None:
        self._server = server

    def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        tensors = {
            kind: [{"name": t["name"], "data_type": t["data_type"], "dims": t["dims"]} for t in CONFIG[kind]]  # type: ignore[attr-defined]
            for kind in ("input", "output")
        }
        return service_pb2.ModelConfigResponse(config=model_config_pb2.ModelConfig(name="echo", **tensors))

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self._server.treats_badly():
            words = {"busy": "Exceeds maximum queue size", "closing": "Socket closed", **ENVOY}[self._server.kind]
            context.abort(grpc.StatusCode.UNAVAILABLE, words)
        reply = service_pb2.ModelInferResponse(model_name="echo")
        reply.outputs.add(name="text", datatype="FP32", shape=[1])
        reply.raw_output_contents.append(np.array([7.0], np.float32).tobytes())
        return reply


@contextlib.contextmanager
def grpc_server(server: Refusing, port: int = 0) -> Iterator[str]:
    running = grpc.server(futures.ThreadPoolExecutor(8))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Servicer(server), running)
    port = running.add_insecure_port(f"127.0.0.1:{port}")
    running.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        running.stop(None).wait()


SERVERS: dict[str, Callable[..., Any]] = {"http": http_server, "grpc": grpc_server}
