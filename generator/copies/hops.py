"""What a report is made of: hops, and how many bytes a tensor has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from generator.copies.rules import RULES
from generator.elements import ELEMENT_BYTES
from generator.plan import ENCODED_BYTES, TEXT_BYTES, Tensor

Place = Literal[
    "client", "client's shm", "client's GPU", "socket", "server", "stub's shm", "process", "engine's shm",
    "engine process", "pinned", "GPU",
]  # fmt: skip

ASSUMED_LENGTH = 128
_LENGTH_PREFIX_BYTES = 4  # in front of each text of a tensor


@dataclass(frozen=True)
class Sizes:
    """How large tensors are: `items` in a request, `requests` in one execution.

    `instances`: so many have an execution like that at the same time, and the engine process that they share runs
    their batches as one. `given` is, by a tensor's name, the length of its variable axes, or of text the bytes of one
    element.
    """

    items: int = 1
    requests: int = 1
    instances: int = 1
    given: Mapping[str, int] = field(default_factory=dict)

    def shape(self, tensor: Tensor, *, batched: bool) -> tuple[int, ...]:
        """The shape of the tensor in one execution: of a model without a batch axis that of one request."""
        is_text = tensor.dtype not in ELEMENT_BYTES
        length = ASSUMED_LENGTH if is_text else self.given.get(tensor.name, ASSUMED_LENGTH)
        dims = tuple(length if dim < 0 else dim for dim in tensor.dims)
        return (self.items * self.requests, *dims) if batched else dims

    def size_bytes(self, tensor: Tensor, *, batched: bool) -> int:
        """Bytes of all requests of one execution; texts as they are sent, with their lengths."""
        elements = math.prod(self.shape(tensor, batched=batched)) * (1 if batched else self.requests)
        if tensor.dtype in ELEMENT_BYTES:
            return elements * ELEMENT_BYTES[tensor.dtype]
        text = ENCODED_BYTES if tensor.encoded else TEXT_BYTES
        return elements * (self.given.get(tensor.name, text) + _LENGTH_PREFIX_BYTES)

    def assumption(self, tensor: Tensor) -> str:
        """What was assumed of it, in words; empty where its size is known or given."""
        if tensor.name in self.given:
            return ""
        if tensor.dtype not in ELEMENT_BYTES:
            return f"one element of `{tensor.name}` has {ENCODED_BYTES if tensor.encoded else TEXT_BYTES} bytes"
        return (
            f"variable axes of `{tensor.name}` have the length {ASSUMED_LENGTH}"
            if min(tensor.dims, default=0) < 0
            else ""
        )


@dataclass(frozen=True)
class Hop:
    """One hop of one tensor in one execution: 0 `copied_bytes` where it is passed on without a copy.

    `model` is where it happens (empty: between client and server), `waits` whether the host waits for a GPU. Of
    several instances whose batches run as one it happens `times`, for each of them (1: for all of them together):
    `shape` is that of one time, `copied_bytes` are those of all.
    """

    tensor: str
    model: str
    dtype: str
    shape: tuple[int, ...]
    source: Place
    to: Place
    by: str
    copied_bytes: int
    rule: str
    waits: bool = False
    times: int = 1

    @property
    def is_seen(self) -> bool:
        """Whether what it says was seen in a running server."""
        return RULES[self.rule].is_seen


@dataclass(frozen=True)
class Report:
    """Every hop of one execution, in order, with what was assumed. `least_*` is the least that is possible.

    With several instances it is of the executions that one run of the engine process serves.
    """

    pipeline: str
    target: str
    protocol: str
    sizes: Sizes
    hops: tuple[Hop, ...]
    least_bytes: int
    least_copies: int
    assumptions: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def copied_bytes(self) -> int:
        """Bytes copied in the execution."""
        return sum(hop.copied_bytes for hop in self.hops)

    @property
    def copies(self) -> int:
        """How often a tensor is copied."""
        return sum(hop.times for hop in self.hops if hop.copied_bytes)

    @property
    def waits(self) -> int:
        """How often the host waits for a GPU."""
        return sum(hop.times for hop in self.hops if hop.waits)

    @property
    def items(self) -> int:
        """Items in the execution."""
        return self.sizes.items * self.sizes.requests * self.sizes.instances
