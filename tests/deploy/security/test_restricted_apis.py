"""Every API that the chart restricts refuses without the key and works with it, over HTTP and over gRPC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tritonkit import AsyncPipeline, Pipeline, PipelineError

pytestmark = pytest.mark.server

# API → requests that reach it: method, path. All of them, since each is a place that a server could forget to guard.
HTTP: dict[str, list[tuple[str, str]]] = {
    "shared-memory": [
        (method, f"/v2/{kind}sharedmemory{rest}")
        for kind in ("system", "cuda")
        for method, rest in (
            ("GET", "/status"), ("GET", "/region/x/status"), ("POST", "/region/x/register"),
            ("POST", "/region/x/unregister"), ("POST", "/unregister"),
        )
    ],
    "model-config": [("GET", "/v2/models/echo/config"), ("GET", "/v2/models/echo/versions/1/config")],
    "model-repository": [
        ("POST", "/v2/repository/index"), ("POST", "/v2/repository/models/echo/load"),
        ("POST", "/v2/repository/models/other/unload"),
    ],
    "statistics": [
        ("GET", "/v2/models/stats"), ("GET", "/v2/models/echo/stats"), ("GET", "/v2/models/echo/versions/1/stats"),
    ],
    "trace": [
        ("GET", "/v2/trace/setting"), ("POST", "/v2/trace/setting"), ("GET", "/v2/models/echo/trace/setting"),
        ("POST", "/v2/models/echo/trace/setting"),
    ],
    "logging": [("GET", "/v2/logging"), ("POST", "/v2/logging")],
}  # fmt: skip
# The same for gRPC; what has to be there for a call to succeed is not: with the key another error will do.
GRPC: dict[str, list[Callable[[Any, dict[str, str]], object]]] = {
    "shared-memory": [
        lambda client, headers: client.get_system_shared_memory_status(headers=headers),
        lambda client, headers: client.register_system_shared_memory("x", "/x", 8, headers=headers),
        lambda client, headers: client.unregister_system_shared_memory(headers=headers),
        lambda client, headers: client.get_cuda_shared_memory_status(headers=headers),
        lambda client, headers: client.register_cuda_shared_memory("x", b"", 0, 8, headers=headers),
        lambda client, headers: client.unregister_cuda_shared_memory(headers=headers),
    ],
    "model-config": [lambda client, headers: client.get_model_config("echo", headers=headers)],
    "model-repository": [
        lambda client, headers: client.get_model_repository_index(headers=headers),
        lambda client, headers: client.load_model("echo", headers=headers),
        lambda client, headers: client.unload_model("other", headers=headers),
    ],
    "statistics": [lambda client, headers: client.get_inference_statistics(headers=headers)],
    "trace": [
        lambda client, headers: client.get_trace_settings(headers=headers),
        lambda client, headers: client.update_trace_settings(settings={"trace_rate": "1000"}, headers=headers),
    ],
    "logging": [
        lambda client, headers: client.get_log_settings(headers=headers),
        lambda client, headers: client.update_log_settings({}, headers=headers),
    ],
}
OPEN = ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/echo", "/v2/models/echo/ready"]


@pytest.fixture
def grpc_client(guarded: Any) -> Iterator[Any]:
    client = triton.InferenceServerClient(guarded.server.grpc_address)
    yield client
    client.close()


def said_by(call: Callable[[Any, dict[str, str]], object], client: Any, headers: dict[str, str]) -> str:
    """The error of a call; nothing where it succeeds."""
    try:
        call(client, headers)
    except InferenceServerException as error:
        return str(error)
    return ""


def test_the_lists_here_are_those_of_the_chart(chart_restricts: list[str]) -> None:
    assert set(HTTP) == set(GRPC) == set(chart_restricts)


@pytest.mark.parametrize(("api", "method", "path"), [(api, *request) for api in HTTP for request in HTTP[api]])
def test_http_refuses_without_the_key(guarded: Any, api: str, method: str, path: str) -> None:
    key = guarded.server.restricted_key
    wrong = [{}, {"tritonkit-key": ""}, {"tritonkit-key": "x" * len(key)}, {"tritonkit-key": key[:-1]},
             {"triton-grpc-protocol-tritonkit-key": key}, {"Authorization": key}]  # fmt: skip
    for headers in wrong:
        status, body = guarded.ask(method, path, b"{}", headers)
        assert (status, "restricted" in body) == (403, True), (api, headers)
        assert key not in body
    status, body = guarded.ask(method, path, b"{}", guarded.server.http_headers)
    assert status != 403, "the key opens it"
    assert "restricted" not in body
    if method == "GET" and "/region/" not in path:
        assert status == 200


@pytest.mark.parametrize(("api", "number"), [(api, number) for api in GRPC for number in range(len(GRPC[api]))])
def test_grpc_refuses_without_the_key(guarded: Any, grpc_client: Any, api: str, number: int) -> None:
    call, key = GRPC[api][number], guarded.server.restricted_key
    name = "triton-grpc-protocol-tritonkit-key"
    for headers in ({}, {name: ""}, {name: "x" * len(key)}, {name: key[:-1]}, {"tritonkit-key": key}):
        said = said_by(call, grpc_client, headers)
        assert "This protocol is restricted" in said
        assert key not in said
    assert "restricted" not in said_by(call, grpc_client, guarded.server.grpc_headers), "the key opens it"


def test_what_clients_need_stays_open(guarded: Any) -> None:
    assert [guarded.ask("GET", path)[0] for path in OPEN] == [200] * len(OPEN)
    assert guarded.serves()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_our_client_needs_no_key(guarded: Any, protocol: Any) -> None:
    server = guarded.server
    address = server.grpc_address if protocol == "grpc" else server.http_address
    with Pipeline("echo", address, protocol=protocol) as pipeline:
        assert [answer.text.tolist() for answer in pipeline.infer([b"ab", b"c"])] == [["ab"], ["c"]]
        assert [tensor.dims for tensor in pipeline.contract.outputs] == [(1,), (1,), (3,)]
    with Pipeline("ecco", address, protocol=protocol) as pipeline, pytest.raises(PipelineError):
        pipeline.infer_one(b"ab")


async def _asked(address: str, protocol: Any) -> Any:
    async with AsyncPipeline("echo", address, protocol=protocol) as pipeline:
        return (await pipeline.infer_one(b"ab")).text.tolist()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_nor_does_the_one_for_asyncio(guarded: Any, protocol: Any) -> None:
    import asyncio

    server = guarded.server
    assert asyncio.run(_asked(server.grpc_address if protocol == "grpc" else server.http_address, protocol)) == ["ab"]


def test_the_key_is_in_no_log_and_no_file(guarded: Any) -> None:
    key = guarded.server.restricted_key.encode()
    guarded.ask("GET", "/v2/logging", headers=guarded.server.http_headers)
    files = [path for path in guarded.folder.rglob("*") if path.is_file()]
    assert guarded.server.log_path in files
    assert len(guarded.server.log_path.read_bytes()) > 1000
    assert [path for path in files if key in path.read_bytes()] == []


def test_only_the_servers_own_command_line_has_the_key(guarded: Any) -> None:
    """Triton takes it no other way; whoever may list this user's processes may read it."""
    key, server = guarded.server.restricted_key, psutil.Process(guarded.server.pid)
    assert any(key in word for word in server.cmdline())
    others = [server.parent(), psutil.Process(), *server.children(recursive=True)]
    assert len(others) >= 3, "the supervisor, this process, a Python process of the model"
    for process in others:
        assert process is not None
        assert not any(key in word for word in process.cmdline())
        assert key not in "".join(process.environ().values())


def test_metrics_are_not_covered(guarded: Any) -> None:
    """They have a port of their own, which is for a network policy to guard; no key is in them."""
    import urllib.request

    with urllib.request.urlopen(f"http://{guarded.server.metrics_address}/metrics", timeout=20) as reply:
        text = reply.read().decode()
    assert "nv_inference_request_success" in text
    assert guarded.server.restricted_key not in text


def test_the_record_of_a_server_is_for_its_owner_alone(guarded: Any, tmp_path: Path) -> None:
    from deploy.embedded import state

    file = state.write(tmp_path, guarded.server.record())
    assert file.stat().st_mode & 0o077 == 0
