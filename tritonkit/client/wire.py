"""What the sync and the async transport of a protocol share: channel settings, replies and failures."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

import rapidjson
from tritonclient.utils import InferenceServerException

from tritonkit.client.errors import NOT_AS_TRITON, ItemError, of_grpc, of_http, too_late, unreachable

# What tritonclient.http raises for an answer that is no JSON, or JSON of another kind than Triton's.
_MISREAD = (rapidjson.JSONDecodeError, UnicodeDecodeError, LookupError, TypeError)
_LARGEST_MESSAGE_BYTES = 2**31 - 1
_GRPC_CHANNEL: list[tuple[str, int | str]] = [
    ("grpc.max_send_message_length", _LARGEST_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE_BYTES),
    # A server that comes back is found again within a second; by default the pauses grow to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Of a name with several addresses, as a headless Service has, every server gets its share; of one it is the same.
    ("grpc.lb_policy_name", "round_robin"),
    # A server that goes away makes the client ask for the name's addresses again; by default at most every 30 s.
    ("grpc.dns_min_time_between_resolutions_ms", 2000),
    # Pipelines share no connections, so that none inherits the state of another's.
    ("grpc.use_local_subchannel_pool", 1),
]


def grpc_channel(address: str) -> list[tuple[str, int | str]]:
    """The options of a channel to `address`. No proxy of the environment (`http_proxy`) reaches our loopback."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    return [*_GRPC_CHANNEL, ("grpc.enable_http_proxy", 0)] if loopback else _GRPC_CHANNEL


def grpc_config(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ModelConfig in a gRPC reply."""
    config: Mapping[str, Any] = reply["config"]
    return config


def grpc_fault(error: InferenceServerException, deadline_s: float) -> ItemError:
    """The ItemError of what tritonclient.grpc raised."""
    return of_grpc(str(error.status()), str(error.message() or ""), deadline_s)


def http_fault(error: Exception, deadline_s: float, lost: tuple[type[Exception], ...]) -> ItemError:
    """The ItemError of what a request over HTTP raised; `lost` are the errors of a connection besides OSError."""
    if isinstance(error, InferenceServerException) and error.status() is not None:
        return of_http(str(error.status()), str(error.message()), error.debug_details(), deadline_s)
    if isinstance(error, TimeoutError):
        return too_late(deadline_s, repr(error))
    if isinstance(error, (OSError, *lost)):
        return unreachable(repr(error))
    if isinstance(error, _MISREAD):
        return ItemError("bad_answer", NOT_AS_TRITON, repr(error))
    return ItemError("internal", f"the client failed: {error!r}", repr(error))


def versions_in(metadata: Mapping[str, Any]) -> list[str]:
    """The versions that are served, in the metadata of a model."""
    return [str(version) for version in metadata.get("versions", ())]


def names_in(statistics: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of the models in a server's statistics: unlike its index, they stand open on an embedded server."""
    return sorted({str(model["name"]) for model in statistics})
