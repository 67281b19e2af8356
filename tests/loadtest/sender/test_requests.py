"""The bytes of requests: as they are, and with their tensors in shared memory."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from generator.problems import ProblemsError
from loadtest.sender.orders import Orders
from loadtest.sender.regions import Region
from loadtest.sender.requests import requests_of
from loadtest.traffic.payloads import Payloads

IMAGES = (b"first", b"and the second")
PAYLOADS = Payloads(
    "two",
    tuple(
        {"image": ("BYTES", np.array([[image]], np.object_)), "size": ("INT32", np.array([[len(image)]], np.int32))}
        for image in IMAGES
    ),
    (1, 1),
)
HEADERS = {"X-Key": "secret"}


def orders(protocol: str, client: str = "raw", **options: object) -> Orders:
    told = {"priority": 2, "server_timeout_us": 7000, "headers": HEADERS, **options}
    return Orders(protocol, client, "127.0.0.1:8000", ("digits",), 1_000_000, **told)  # type: ignore[arg-type]


class Memory:
    """What is placed, one after the other."""

    def __init__(self) -> None:
        self.content = b""

    def place(self, tensor: bytes) -> tuple[str, int]:
        self.content += tensor
        return "region", len(self.content) - len(tensor)


def http_parts(request: bytes) -> tuple[list[str], dict[str, object], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    lengths = [int(line.partition(":")[2]) for line in lines if line.startswith("Inference-Header")]
    length = lengths[0] if lengths else len(body)
    return lines, json.loads(body[:length]), body[length:]


@pytest.mark.parametrize("shared", [False, True])
def test_http(*, shared: bool) -> None:
    memory = Memory()
    made = requests_of(orders("http"), "digits", PAYLOADS, memory.place if shared else None)
    assert len(made) == 2
    for request, image in zip(made, IMAGES, strict=True):
        lines, asked, tensors = http_parts(request)
        assert lines[0] == "POST /v2/models/digits/infer HTTP/1.1"
        assert "X-Key: secret" in lines
        body = request.partition(b"\r\n\r\n")[2]
        assert f"Content-Length: {len(body)}" in lines
        parameters = asked["parameters"]
        assert isinstance(parameters, dict)
        assert {parameters["priority"], parameters["timeout"]} == {2, 7000}
        wanted = len(image).to_bytes(4, "little") + image, len(image).to_bytes(4, "little")
        assert tensors == (b"" if shared else b"".join(wanted))
        for tensor, data in zip(asked["inputs"], wanted, strict=True):  # type: ignore[call-overload]
            said = tensor["parameters"]
            if shared:
                offset, size = said["shared_memory_offset"], said["shared_memory_byte_size"]
                assert said["shared_memory_region"] == "region"
                assert memory.content[offset : offset + size] == data
                assert "binary_data_size" not in said
            else:
                assert said == {"binary_data_size": len(data)}


@pytest.mark.parametrize("client", ["raw", "tritonclient"])
def test_grpc_by_reference(client: str) -> None:
    memory = Memory()
    sent = requests_of(orders("grpc", client), "digits", PAYLOADS, None)
    shared = requests_of(orders("grpc", client), "digits", PAYLOADS, memory.place)
    for plain, moved in zip(sent, shared, strict=True):
        one, other = (service_pb2.ModelInferRequest.FromString(data) for data in (plain, moved))
        assert (one.parameters["timeout"].int64_param, other.parameters["timeout"].int64_param) == (7000, 7000)
        assert not other.raw_input_contents
        for tensor, data in zip(other.inputs, one.raw_input_contents, strict=True):
            offset = tensor.parameters["shared_memory_offset"].int64_param
            size = tensor.parameters["shared_memory_byte_size"].int64_param
            assert memory.content[offset : offset + size] == data


def test_a_region_without_a_server_leaves_nothing() -> None:
    region = Region(orders("http", shared_memory=True), 7)
    assert region.place(b"abc") == (region.name, 0)
    assert region.place(b"abc") == (region.name, 64)
    with pytest.raises(ProblemsError, match="TK863"):
        region.publish()
    region.remove()
    assert not Path("/dev/shm", region.name).exists()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("tell_server", [True, False])
def test_a_region_goes_although_the_server_is_silent(protocol: str, *, tell_server: bool) -> None:
    """Who ends it in a hurry does not even ask."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        region = Region(replace(orders(protocol, shared_memory=True, headers={}), address=address), 8)
        file = Path("/dev/shm", region.name)
        file.write_bytes(b"tensors")
        region._registered = True
        began = time.monotonic()
        region.remove(tell_server=tell_server)
        assert time.monotonic() - began < 20
        assert not file.exists()
        silent.settimeout(0)
        with contextlib.ExitStack() as asked:
            if not tell_server:
                asked.enter_context(pytest.raises(BlockingIOError))
            silent.accept()[0].close()
