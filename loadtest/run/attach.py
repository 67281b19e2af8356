"""A running server as the goal of a load test: on this machine, or one that is named."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.run.problem import refused
from loadtest.run.serving import Serving

if TYPE_CHECKING:
    from generator.plan import Plan

_ADDRESS = re.compile(r"(?P<host>[^\s:/?#@\[\]]+|\[[0-9a-fA-F:.]+\]):(?P<port>[0-9]{1,5})")
GRPC_BESIDE = 1  # Triton's gRPC port is the next one to HTTP's, unless it is told otherwise


def attach(
    plans: Sequence[Plan],
    root: Path,
    http: str,
    *,
    grpc: str | None = None,
    target: str,
    allowed: Collection[str] = (),
) -> Serving:
    """The server at `http` and `grpc` (`host:port`; default: the port after HTTP's), none of which is asked anything.

    A name is resolved here, once, and the address that was checked is the one that load goes to. Raises ProblemsError
    for what is no address, and for one beyond this machine whose host is not in `allowed`.
    """
    host, port = split(http, "--url")
    http_address = checked(host, port, allowed)
    if grpc is None:
        grpc_address = f"{http_address.rpartition(':')[0]}:{min(port + GRPC_BESIDE, 65535)}"
    else:
        grpc_address = checked(*split(grpc, "--grpc-url"), allowed)
    return Serving(tuple(plans), root, http_address, grpc_address, target)


def split(address: str, option: str) -> tuple[str, int]:
    """Host and port of `host:port` or `http://host:port`. Raises ProblemsError for anything else."""
    plain = re.sub(r"^(http|grpc)://", "", address).rstrip("/")
    found = _ADDRESS.fullmatch(plain)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise refused("TK872", option, f"`{address}` is no address of a server", "give host:port, as localhost:8000")
    return found["host"].strip("[]"), int(found["port"])


def checked(host: str, port: int, allowed: Collection[str] = ()) -> str:
    """The numeric address of a host; no connection is opened. Raises ProblemsError when load may not go there.

    Every address that the name has must be of this machine: one that leads elsewhere is enough to refuse it.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise refused("TK872", together(host, port), f"`{host}` cannot be resolved: {error}") from error
    addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    if host.lower() not in {name.lower().strip("[]") for name in allowed}:
        foreign = [address for address in addresses if not is_loopback(address)]
        if foreign:
            where = f"`{host}`" if foreign == [host] else f"`{host}` is {', '.join(foreign)}, which"
            raise refused(
                "TK874", together(host, port),
                f"{where} is not this machine; nothing was sent",
                f"load may harm who does not expect it: if that server is yours to load, add --allow-remote {host}",
            )  # fmt: skip
    first = next((address for address in addresses if ":" not in address), addresses[0])
    return together(first, port)


def together(host: str, port: int) -> str:
    """`host:port`; a numeric host of IPv6 has brackets there, or nobody could tell where its port begins."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(address: str) -> bool:
    """Whether a numeric address is of this machine alone: 127.0.0.0/8 or ::1, in IPv6's clothes too."""
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)
