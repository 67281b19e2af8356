"""Everything that a load test is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from loadtest.sender.orders import ClientKind, Protocol

LONGEST_DEADLINE_MS = 3_600_000.0
LEAST_DEADLINE_MS, DEADLINE_BY_BOUND = 1000.0, 10.0


@dataclass(frozen=True)
class Promise:
    """What one pipeline promises."""

    p99_ms: float
    throughput_rps: float | None = None
    max_error_rate: float = 0.001


@dataclass(frozen=True)
class Asked:
    """One load test. `mix` is pipeline -> weight in the order of the served plans, `promises` pipeline -> promise.

    `kind` is how arrivals are drawn (poisson, constant, trace, burst, ramp, diurnal), `shape` its further parameters;
    `rate_rps` is None for a trace at its own pace,
    `duration_s` for a whole one. `sizes` are items a request. `deadline_ms`: None is ten times the
    largest bound, a second at least. `lag_bound_ms`: None is what `truth.guards` states. `budget_s` is how long a run
    that extends may send altogether. `command` repeats it; `spec` and `spec_sha256` are of what was served.
    """

    promises: Mapping[str, Promise]
    mix: Mapping[str, float]
    rate_rps: float | None
    duration_s: float | None
    kind: str = "poisson"
    seed: int = 1
    trace: Path | None = None
    shape: Mapping[str, Any] = field(default_factory=dict)
    protocol: Protocol = "http"
    client: ClientKind = "raw"
    driver: Literal["direct", "locust"] = "direct"
    senders: int = 1
    connections: int | None = None
    deadline_ms: float | None = None
    sizes: tuple[int, ...] = (1,)
    priority: int = 0
    server_timeout_us: int = 0
    cancel: float = 0.0
    shared_memory: bool = False
    streaming: bool = False
    budget_s: float | None = None
    lag_bound_ms: float | None = None
    confidence: float = 0.99
    command: str = ""
    spec: str = ""
    spec_sha256: str = ""

    @property
    def deadline_us(self) -> int:
        """After which a request is a timeout, in microseconds."""
        longest = max(promise.p99_ms for promise in self.promises.values())
        deadline_ms = self.deadline_ms or max(DEADLINE_BY_BOUND * longest, LEAST_DEADLINE_MS)
        return round(min(deadline_ms, LONGEST_DEADLINE_MS) * 1000)

    @property
    def pipelines(self) -> tuple[str, ...]:
        """In the order of the mix."""
        return tuple(self.mix)
