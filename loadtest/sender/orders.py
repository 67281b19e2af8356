"""What the sending process is told, and what it tells when it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ClientKind = Literal["raw", "tritonclient"]
Protocol = Literal["http", "grpc"]
NOT_KEPT = "samples cannot be kept"  # how a report's `stopped` begins when the disk is full


@dataclass(frozen=True)
class Orders:
    """How requests are sent. The schedule and the payloads lie beside it, in files of the sender's folder.

    `address` is `host:port`. A request that is not answered `deadline_us` after it was due is a timeout.
    `connections` is the most that are opened (HTTP), or the channels (gRPC). `priority` and `server_timeout_us` are
    Triton's own request parameters (0: none). `cancel` is the share of requests that are cancelled before they are
    answered, `shared_memory` puts tensors into regions, `streaming` sends over one gRPC stream.
    """

    protocol: Protocol
    client: ClientKind
    address: str
    pipelines: tuple[str, ...]
    deadline_us: int
    connections: int = 64
    priority: int = 0
    server_timeout_us: int = 0
    cancel: float = 0.0
    shared_memory: bool = False
    streaming: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    seed: int = 1


@dataclass(frozen=True)
class SenderReport:
    """What one sending process saw of itself.

    `busiest_core` is the share of a core that its busiest second used (0 to 1), `cpu_s` its whole CPU time. Pauses of
    garbage collection and the clock's resolution are those of that process. `stopped` says why it ended early, if so.
    `real_time`: it never waited for a core that ordinary processes had. `most_in_flight`: as many requests may be
    unanswered before others wait for a connection (0: any number, or not known).
    """

    pid: int
    started_unix_ns: int
    wall_s: float
    cpu_s: float
    busiest_core: float
    gc_pauses: int
    gc_longest_us: int
    clock_resolution_ns: int
    connections_opened: int
    waited_for_connection: int
    stopped: str | None = None
    errors: dict[str, int] = field(default_factory=dict)
    real_time: bool = False
    most_in_flight: int = 0
