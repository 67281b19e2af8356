"""Which client sends what."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.sender.clients.base import Client, Work
from loadtest.sender.clients.raw_grpc import RawGrpc
from loadtest.sender.clients.raw_http import RawHttp
from loadtest.sender.clients.raw_stream import RawGrpcStream
from loadtest.sender.clients.triton_grpc import TritonGrpc
from loadtest.sender.clients.triton_http import TritonHttp
from loadtest.sender.codes import mistake
from loadtest.sender.orders import Orders

LONGEST_DEADLINE_US = 3_600_000_000  # a latency has 32 bits of microseconds
MOST_CONNECTIONS = 16_384


def check(orders: Orders) -> None:
    """Raises ProblemsError (TK860) when the orders do not fit together."""
    if orders.streaming and orders.protocol == "http":
        raise mistake("TK860", "streaming", "there is no streaming over HTTP", "use gRPC")
    if orders.streaming and orders.client == "tritonclient":
        message = "tritonclient does not tell which request of a stream an error is of"
        raise mistake("TK860", "streaming", message, "stream with the raw client")
    if orders.streaming and orders.cancel:
        message = "a single request of a gRPC stream cannot be cancelled"
        raise mistake("TK860", "cancel", message, "do without streaming, or without cancelled requests")
    if orders.cancel and orders.protocol == "http" and orders.client == "tritonclient":
        raise mistake(
            "TK860", "cancel", "tritonclient cannot cancel a request over HTTP", "use the raw client, or gRPC"
        )
    if not 0 <= orders.cancel <= 1:
        raise mistake("TK860", "cancel", f"a share of {orders.cancel:g} requests cannot be cancelled", "give 0 to 1")
    if not 0 < orders.deadline_us <= LONGEST_DEADLINE_US:
        message = f"a deadline of {orders.deadline_us / 1e6:g} s cannot be kept"
        raise mistake("TK860", "deadline_us", message, "give more than nothing and at most an hour")
    if not 0 < orders.connections <= MOST_CONNECTIONS:
        message = f"{orders.connections} connections cannot be opened"
        raise mistake("TK860", "connections", message, f"give 1 to {MOST_CONNECTIONS}")


def client_of(work: Work, requests: Sequence[Sequence[bytes]]) -> Client:
    """The client that the orders name. `requests`: pipeline → its payloads as `requests_of` makes them."""
    check(work.orders)
    orders = work.orders
    if orders.client == "raw":
        if orders.protocol == "http":
            return RawHttp(work, requests)
        return RawGrpcStream(work, requests) if orders.streaming else RawGrpc(work, requests)
    return TritonHttp(work, requests) if orders.protocol == "http" else TritonGrpc(work, requests)
