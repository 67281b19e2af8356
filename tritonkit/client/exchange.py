"""What the sync and the async client share: options, an item's way out and back, and the faults of all calls."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tritonkit.client.answer import Answer
from tritonkit.client.contract import Contract
from tritonkit.client.errors import (
    NOT_AS_TRITON,
    ItemError,
    PipelineError,
    ServerUnreachableError,
    UnknownPipelineError,
    UnknownVersionError,
    did_you_mean,
)
from tritonkit.client.retry import RETRY, Retry
from tritonkit.client.values import Array, Item, ItemFaultError, Result, decode, encode, source_of

Reply = Result | ItemError
PROTOCOLS = {"grpc": "gRPC", "http": "HTTP"}
_NAMES_SHOWN = 12


@dataclass(frozen=True)
class Options:
    """Where a pipeline is and how it is called; raises ValueError for what cannot work.

    `version` None is the newest version that is served; `retry` None sends nothing twice.
    """

    name: str
    address: str
    protocol: str
    deadline_s: float
    in_flight: int
    version: str | None = None
    retry: Retry | None = RETRY

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"protocol is {self.protocol!r}; valid: {', '.join(map(repr, PROTOCOLS))}")
        resolver = self.protocol == "grpc" and self.address.startswith("dns://")
        if ("://" in self.address and not resolver) or not re.search(r":\d+(/|$)", self.address):
            raise ValueError(f"address is {self.address!r}; give host:port, such as 'localhost:8001'")
        if not self.deadline_s > 0:
            raise ValueError(f"deadline_s is {self.deadline_s}; give seconds above 0")
        if self.version is not None and not re.fullmatch(r"[1-9][0-9]{0,17}", self.version):
            raise ValueError(f"version is {self.version!r}; give a number from 1 on as text, such as '2', or None")
        if self.in_flight < 1:
            raise ValueError(f"in_flight is {self.in_flight}; give 1 or more")


@dataclass(frozen=True)
class Outgoing:
    """An item that is ready to be sent."""

    index: int
    source: str
    arrays: dict[str, Array]


def check_items(items: object) -> None:
    """Raises TypeError for what is one item, where several are wanted."""
    if isinstance(items, (str, bytes, bytearray, memoryview, os.PathLike, Mapping)):
        kind = type(items).__name__
        raise TypeError(f"infer() takes a list of items, found one {kind}; use infer_one() for one item")


def prepare(contract: Contract, index: int, item: Item) -> Outgoing | Answer:
    """The item as arrays, or at once the answer that says what is wrong with it."""
    try:
        return Outgoing(index, source_of(item), encode(contract, item))
    except ItemFaultError as fault:
        return Answer(index, source_of(item), error=fault.error)


def finish(contract: Contract, sent: Outgoing, reply: Reply, latency_us: int, attempts: int) -> Answer:
    """The answer from what the server said to the last of the attempts."""
    told: dict[str, Any] = {"latency_us": max(1, latency_us), "attempts": attempts}
    if isinstance(reply, ItemError):
        return Answer(sent.index, sent.source, error=reply, **told)
    try:
        return Answer(sent.index, sent.source, decode(contract, reply), **told)
    except ItemFaultError as fault:
        return Answer(sent.index, sent.source, error=fault.error, **told)


def asks_further(config: object) -> bool:
    """Whether the server's metadata help: it has no such model, or keeps configurations to those with its key."""
    return isinstance(config, ItemError) and config.code in ("not_found", "permission_denied")


def agree(options: Options, given: Contract | None, told: Mapping[str, Any]) -> Contract:
    """The contract to hold to, from a model's configuration or its metadata.

    Raises ContractError if the caller's is not the server's, ServerUnreachableError if `told` is no Triton's.
    """
    try:
        server = Contract.of_metadata(told) if "inputs" in told else Contract.of_config(told)
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # JSON, but no ModelConfig
        raise unreachable_error(options, ItemError("bad_answer", NOT_AS_TRITON, repr(error))) from None
    if given is not None:
        given.check_against(server, options.address)
    return given or server


def first_fault(options: Options, error: ItemError, models: Iterable[str], versions: Iterable[str]) -> PipelineError:
    """The exception for a server that does not say what the pipeline takes.

    `models` are those it has, `versions` those of the pipeline that it serves.
    """
    if error.code in ("unreachable", "deadline_exceeded", "bad_answer"):
        return unreachable_error(options, error)
    served = sorted(versions, key=int)
    if error.code == "not_found" and options.version is not None and served:
        wanted = f"version {options.version} of {options.name!r}"
        return UnknownVersionError(
            f"the server at {options.address} does not serve {wanted}; it serves: {', '.join(served)}"
        )
    if error.code == "not_found":
        names = sorted(models)
        hint = did_you_mean(options.name, names)
        more = ", ..." if len(names) > _NAMES_SHOWN else ""
        known = f"; it has: {', '.join(names[:_NAMES_SHOWN])}{more}{hint}" if names else ""
        return UnknownPipelineError(f"the server at {options.address} has no model {options.name!r}{known}")
    return PipelineError(f"the server at {options.address} does not tell what {options.name!r} takes: {error}")


def unreachable_error(options: Options, error: ItemError) -> ServerUnreachableError:
    """One sentence that says what to check."""
    protocol = PROTOCOLS[options.protocol]
    reason = error.message.removeprefix("the server cannot be reached: ")
    advice = "start the server, or give its address for this protocol (usually port 8001 for gRPC, 8000 for HTTP)"
    return ServerUnreachableError(f"no Triton server answers by {protocol} at {options.address}: {reason}; {advice}")


def check_reached(options: Options, answers: Iterable[Answer]) -> None:
    """Raises ServerUnreachableError if items were sent and none of them reached a server."""
    errors = [answer.error for answer in answers if answer.latency_us]
    lost = [error for error in errors if error is not None and error.code == "unreachable"]
    if lost and len(lost) == len(errors):
        raise unreachable_error(options, lost[0])
