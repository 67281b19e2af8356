"""What a server does from SIGTERM on: how long idle connections hold it up, and what it says to whom."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from .kubelet import PodProcess
from .pod import Pod
from .rollout import new_address

_EXIT_TIMEOUT_S = 8
_SETTLED_S = 0.5  # after the signal: what it says from then on is what it says while it stops
CASES = {"no connection": (0, 0), "one idle HTTP connection": (1, 0), "one idle gRPC connection": (0, 1)}


def measured(pod: Pod, folder: Path) -> list[dict[str, Any]]:
    """For each of CASES: how long the server took to end, how, and what it said meanwhile."""
    return [_case(name, pod, folder, *idle) for name, idle in CASES.items()]


def _case(name: str, pod: Pod, folder: Path, idle_http: int, idle_grpc: int) -> dict[str, Any]:
    server = PodProcess(pod.with_exit_timeout(_EXIT_TIMEOUT_S), new_address(), folder)
    try:
        server.becomes_ready()
        with contextlib.ExitStack() as stack:
            kept = [stack.enter_context(_http(server)) for _ in range(idle_http)]
            for _ in range(idle_grpc):
                stack.enter_context(_grpc(server)).is_server_live()
            ended = threading.Thread(target=server.end, args=(60.0,))
            began = time.monotonic()
            ended.start()
            time.sleep(_SETTLED_S)
            said = {
                "new_http": _new_http(server), "new_grpc": _new_grpc(server),
                "kept_http": _ready_on(kept[0]) if kept else None,
            }  # fmt: skip
            ended.join()
            exit_s = time.monotonic() - began
    finally:
        if server.ended is None:
            server.end()
    return {
        "case": name, "exit_timeout_s": _EXIT_TIMEOUT_S, "exit_s": round(exit_s, 2), "status": server.ended,
        "ready_after_the_signal": said,
    }  # fmt: skip


@contextlib.contextmanager
def _http(server: PodProcess) -> Iterator[http.client.HTTPConnection]:
    """A connection that has been used once, and is kept."""
    connection = http.client.HTTPConnection(server.address, server.pod.ports["http"], timeout=5)
    _ready_on(connection)
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def _grpc(server: PodProcess) -> Iterator[Any]:
    address = f"{server.address}:{server.pod.ports['grpc']}"
    client = triton.InferenceServerClient(address, channel_args=[("grpc.use_local_subchannel_pool", 1)])
    try:
        yield client
    finally:
        client.close()


def _ready_on(connection: http.client.HTTPConnection) -> str:
    try:
        connection.request("GET", "/v2/health/ready")
        reply = connection.getresponse()
        reply.read()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    return str(reply.status)


def _new_http(server: PodProcess) -> str:
    connection = http.client.HTTPConnection(server.address, server.pod.ports["http"], timeout=5)
    try:
        return _ready_on(connection)
    finally:
        connection.close()


def _new_grpc(server: PodProcess) -> str:
    with _grpc(server) as client:
        try:
            return str(client.is_server_ready(client_timeout=5))
        except InferenceServerException as error:
            return str(error.message())
