"""Where a request's time goes, as the server counts it: queue, input, compute, output of each model."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from loadtest.server_statistics import model_statistics


@dataclass(frozen=True)
class Totals:
    """Of one model since the server started; all but the counts in nanoseconds, summed over its requests."""

    requests: int = 0
    items: int = 0
    executions: int = 0
    whole_ns: int = 0
    queue_ns: int = 0
    input_ns: int = 0
    compute_ns: int = 0
    output_ns: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))


def totals_of(model: Mapping[str, Any]) -> Totals:
    """One entry of the server's `model_stats`. Triton leaves out what is 0."""
    stats = model.get("inference_stats", {})

    def ns(name: str) -> int:
        return int(stats.get(name, {}).get("ns", 0))

    return Totals(
        int(stats.get("success", {}).get("count", 0)), int(model.get("inference_count", 0)),
        int(model.get("execution_count", 0)), ns("success"), ns("queue"), ns("compute_input"), ns("compute_infer"),
        ns("compute_output"),
    )  # fmt: skip


def read_totals(http_address: str) -> dict[str, Totals]:
    """Of every model, all its versions together. Raises OSError."""
    found: dict[str, Totals] = {}
    for model in model_statistics(http_address):
        found[model["name"]] = found.get(model["name"], Totals()) + totals_of(model)
    return found


def read_totals_after(
    http_address: str, before: Mapping[str, Totals], models: Sequence[str], requests: int, *, timeout_s: float = 5.0
) -> dict[str, Totals]:
    """Once each of `models` has counted so many requests more: the server counts after it has answered.

    What there is after `timeout_s` is returned as it is. Raises OSError.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        now = read_totals(http_address)
        counted = [now.get(name, Totals()).requests - before.get(name, Totals()).requests for name in models]
        if all(count >= requests for count in counted) or time.monotonic() > deadline:
            return now
        time.sleep(0.01)


@dataclass(frozen=True)
class Stage:
    """Mean microseconds a request of one model, and the mean batch that it ran (items)."""

    queue_us: float
    input_us: float
    compute_us: float
    output_us: float
    mean_batch: float

    @property
    def whole_us(self) -> float:
        """All of it."""
        return self.queue_us + self.input_us + self.compute_us + self.output_us


@dataclass(frozen=True)
class Breakdown:
    """Mean microseconds a request: `models` as they follow each other, `between_us` them, `outside_us` the server's
    models: the network, the server's front end and the client.

    `between_us` is None where models run side by side: then their sum is not what a request takes.
    """

    models: Mapping[str, Stage]
    between_us: float | None
    outside_us: float

    def sum(self, field: str) -> float:
        """One field of all models."""
        return float(sum(getattr(stage, field) for stage in self.models.values()))


def breakdown(
    spent: Mapping[str, Totals], models: Sequence[str], pipeline: str, latency_us: float, *, chain: bool
) -> Breakdown:
    """From what was counted meanwhile. `latency_us` is the client's mean; `chain`: each model follows the one before.

    Raises ValueError when the server counted no request.
    """
    requests = spent[pipeline].requests
    if requests <= 0:
        raise ValueError(f"the server counted no request of {pipeline}")
    stages = {}
    for name in models:
        part = spent[name]
        times = (part.queue_ns, part.input_ns, part.compute_ns, part.output_ns)
        queue_us, input_us, compute_us, output_us = (ns / requests / 1000 for ns in times)
        stages[name] = Stage(queue_us, input_us, compute_us, output_us, part.items / max(1, part.executions))
    whole_us = spent[pipeline].whole_ns / requests / 1000
    between = None
    if chain:
        between = whole_us - sum(stage.whole_us for stage in stages.values()) if len(models) > 1 else 0.0
    return Breakdown(stages, between, latency_us - whole_us)
