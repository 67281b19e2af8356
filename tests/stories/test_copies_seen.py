"""What the report says of copies, against the bytes that a running server moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from copies_traces import ITEM_BYTES, ITEMS, PAYLOAD_BYTES, Relay, marked_bytes, marked_project, payload, relay
from story_tools import PROTOCOLS, Protocol, Running, render_to, running
from tritonclient.utils import shared_memory

from generator.copies import Report, Sizes, copies_of

HEADERS = 0.01  # of the payload, on the wire
SHAPE = [ITEMS, ITEM_BYTES]


@pytest.fixture(scope="module", params=["ensemble", "fused"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The two classes, as two models and as one."""
    root = tmp_path_factory.mktemp("marked")
    with running(render_to(root / "repository", marked_project(root / "project", request.param))) as server:
        yield server


def report(served: Running, protocol: Any) -> Report:
    """What is to be expected of one request of four items."""
    return copies_of(served.rendered.plans["marked"], protocol, Sizes(items=ITEMS))


def expected(found: Report, *rules: str) -> int:
    """Bytes that are copied by these rules."""
    return sum(hop.copied_bytes for hop in found.hops if hop.rule in rules)


def in_shm(served: Running, mark: bytes) -> dict[str, int]:
    """Bytes of each tensor in the shared memory of all stubs."""
    data = b"".join(path.read_bytes() for path in Path("/dev/shm").glob(f"{served.server.shm_prefix}*"))
    return marked_bytes(data, mark)


def expected_in_shm(found: Report) -> dict[str, int]:
    """Bytes of each marked tensor that the report says are copied into a stub's shared memory."""
    return {
        name: sum(h.copied_bytes for h in found.hops if h.tensor == name and h.to == "stub's shm") for name in "abc"
    }


def call(protocol: Protocol, address: str, mark: bytes) -> Any:
    """One request of four items; its outputs `c` and `in_shm`."""
    library = tritonclient.grpc if protocol == "grpc" else tritonclient.http
    with library.InferenceServerClient(address) as client:
        tensor = library.InferInput("a", SHAPE, "UINT8")
        tensor.set_data_from_numpy(payload(mark))
        return client.infer("marked", [tensor])


def over(served: Running, protocol: Protocol, mark: bytes) -> tuple[Any, Relay]:
    """The same through a relay, and what it counted."""
    with relay(served.address(protocol)) as counted:
        answer = call(protocol, counted.address, mark)
        return answer, counted


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bytes_over_the_socket_and_in_the_stubs_are_those_of_the_report(served: Running, protocol: Protocol) -> None:
    mark = b"<Marked>" if protocol == "grpc" else b"{mARKED}"
    answer, counted = over(served, protocol, mark)
    assert np.array_equal(answer.as_numpy("c"), payload(mark) ^ 3)
    found = report(served, protocol)
    assert expected(found, f"{protocol}-in") == PAYLOAD_BYTES
    assert counted.sent == pytest.approx(expected(found, f"{protocol}-in"), rel=HEADERS)
    assert counted.received == pytest.approx(expected(found, f"{protocol}-out"), rel=HEADERS)
    assert in_shm(served, mark) == expected_in_shm(found)


def test_a_program_reads_its_own_copy_and_not_the_shared_memory(served: Running) -> None:
    answer = call("grpc", served.address("grpc"), b"[marked]")
    assert not answer.as_numpy("in_shm").any()
    assert expected(report(served, "grpc"), "as-numpy") >= PAYLOAD_BYTES


def test_through_shared_memory_nothing_of_the_tensors_is_sent(served: Running) -> None:
    mark = b"(Marked)"
    found = report(served, "system-shm")
    answered = PAYLOAD_BYTES
    region = shared_memory.create_shared_memory_region("all", "/tritonkit-test-marked", PAYLOAD_BYTES + answered)
    try:
        shared_memory.set_shared_memory_region(region, [payload(mark)])
        with (
            relay(served.address("grpc")) as counted,
            tritonclient.grpc.InferenceServerClient(counted.address) as client,
        ):
            headers = served.server.grpc_headers
            client.register_system_shared_memory(
                "all", "/tritonkit-test-marked", PAYLOAD_BYTES + answered, headers=headers
            )
            tensor = tritonclient.grpc.InferInput("a", SHAPE, "UINT8")
            tensor.set_shared_memory("all", PAYLOAD_BYTES)
            output = tritonclient.grpc.InferRequestedOutput("c")
            output.set_shared_memory("all", answered, offset=PAYLOAD_BYTES)
            client.infer("marked", [tensor], outputs=[output])
            client.unregister_system_shared_memory("all", headers=headers)
        given = shared_memory.get_contents_as_numpy(region, np.uint8, SHAPE, offset=PAYLOAD_BYTES)
        assert np.array_equal(given, payload(mark) ^ 3)
    finally:
        shared_memory.destroy_shared_memory_region(region)
    assert expected(found, "shm-in", "shm-out", "grpc-in", "http-in", "grpc-out") == 0
    assert max(counted.sent, counted.received) < HEADERS * PAYLOAD_BYTES
    assert in_shm(served, mark) == expected_in_shm(found)
