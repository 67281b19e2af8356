"""The bytes of every request, with its tensors in shared memory if the orders say so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from loadtest.raw_http import post
from loadtest.sender.orders import Orders

if TYPE_CHECKING:
    from loadtest.traffic.payloads import Payloads

Place = Callable[[bytes], tuple[str, int]]
"""Puts a tensor's bytes into shared memory: the region's name, and the offset there."""

_JSON_BYTES = re.compile(rb"\r\ninference-header-content-length:[ \t]*(\d+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


def requests_of(orders: Orders, model: str, payloads: Payloads, place: Place | None) -> list[bytes]:
    """Whole HTTP requests for the raw client over HTTP, serialized ModelInferRequests for all others."""
    if orders.protocol == "http" and orders.client == "raw":
        made = payloads.http(
            orders.address, model, priority=orders.priority, timeout_us=orders.server_timeout_us,
            headers=orders.headers,
        )  # fmt: skip
        return [http_by_reference(request, orders, place) for request in made] if place else made
    made = payloads.grpc(model, priority=orders.priority, timeout_us=orders.server_timeout_us)
    return [grpc_by_reference(request, place) for request in made] if place else made


def http_by_reference(request: bytes, orders: Orders, place: Place) -> bytes:
    """The same request with its tensors in shared memory."""
    head, _, body = request.partition(_HEAD_END)
    found = _JSON_BYTES.search(head + b"\r\n")
    if found is None:
        raise ValueError("a request without tensors")
    start = int(found[1])
    asked: dict[str, Any] = json.loads(body[:start])
    for tensor in asked["inputs"]:
        size = tensor["parameters"].pop("binary_data_size")
        region, offset = place(body[start : start + size])
        tensor["parameters"] |= {
            "shared_memory_region": region, "shared_memory_byte_size": size, "shared_memory_offset": offset,
        }  # fmt: skip
        start += size
    text = json.dumps(asked, separators=(",", ":")).encode()
    path = head.split(b" ", 2)[1].decode()
    return post(orders.address, path, text, {"Content-Type": "application/json", **orders.headers})


def grpc_by_reference(request: bytes, place: Place) -> bytes:
    """The same serialized ModelInferRequest with its tensors in shared memory."""
    from tritonclient.grpc import service_pb2

    message = service_pb2.ModelInferRequest.FromString(request)
    for tensor, data in zip(message.inputs, message.raw_input_contents, strict=True):
        region, offset = place(data)
        tensor.parameters["shared_memory_region"].string_param = region
        tensor.parameters["shared_memory_byte_size"].int64_param = len(data)
        tensor.parameters["shared_memory_offset"].int64_param = offset
    del message.raw_input_contents[:]
    made: bytes = message.SerializeToString(deterministic=True)
    return made
