"""How long it takes a pod to go without losing a request: every number from the longest request that is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the doctor imports this, and pydantic may be what is missing
    from generator.plan import ModelPlan, Plan
    from generator.spec.serving import Queue

UNBOUNDED_MS = 30_000.0
"""What a request may take where nothing in the spec bounds it: the server's own `--exit-timeout-secs`."""

UNLOAD_S_PER_INSTANCE = 1.2
"""Instances of one model are unloaded one after the other, each takes about this long; models go in parallel."""

PRE_STOP_S = 10
"""Until nobody sends a pod that is going anything new: twice the 5 s that gRPC connections live in the chart.

They hear of it from Kubernetes and never from the pod: Triton (seen with 2.51) is ready until nobody listens.
"""

MARGIN_S = 5
"""For the process to end, and the node's agent to see it."""

_OBJECTIVES = 10  # to run, beside waiting: what is slower than ten times the objective is no answer any more


@dataclass(frozen=True)
class Drain:
    """What happens from a pod's deletion on, in seconds: it waits, the server ends what it has begun, and a margin.

    The kubelet counts `grace_s` from the deletion on, preStop included, and kills what is left.
    """

    pre_stop_s: int
    exit_timeout_s: int
    margin_s: int

    @property
    def grace_s(self) -> int:
        """The pod's terminationGracePeriodSeconds: no smaller one lets every request end."""
        return self.pre_stop_s + self.exit_timeout_s + self.margin_s


def drain_of(plans: Sequence[Plan]) -> Drain:
    """Of a server with all these pipelines."""
    from generator.memory import placed

    where = placed(plans)
    instances = max((where.instances(plan, model) for plan in plans for model in plan.models), default=1)
    return Drain(PRE_STOP_S, exit_timeout_s(longest_of(plans), instances), MARGIN_S)


def exit_timeout_s(longest_ms: float, most_instances_of_a_model: int) -> int:
    """How long a stopping server may take: the longest request, then unloading, then a second of margin."""
    unloading_s = math.ceil(most_instances_of_a_model * UNLOAD_S_PER_INSTANCE)
    return math.ceil(longest_ms / 1000) + unloading_s + 1


def longest_of(plans: Sequence[Plan]) -> float:
    """The longest request of several pipelines, in milliseconds."""
    return max((longest_request_ms(plan) for plan in plans), default=UNBOUNDED_MS)


def longest_request_ms(plan: Plan) -> float:
    """How long a request may take from its arrival: every queue's timeout, and ten times the objective to run.

    30 s where a queue has no timeout (or serves what has timed out after all others) or the spec no objective.
    """
    timeouts_us = [_longest_wait_us(model) for model in plan.models]
    if plan.objective is None or not all(timeouts_us):
        return UNBOUNDED_MS
    return sum(timeouts_us) / 1000 + _OBJECTIVES * plan.objective.p99_ms


def bounds_of(plan: Plan) -> str:
    """In words: what `longest_request_ms` is made of."""
    without = [model.name for model in plan.models if not _longest_wait_us(model)]
    if plan.objective is None:
        return f"the spec of `{plan.name}` has no objective: {UNBOUNDED_MS / 1000:g} s"
    if without:
        shown = ", ".join(without[:3]) + (" …" if len(without) > 3 else "")
        return f"nothing ends the wait in the queue of {shown}: {UNBOUNDED_MS / 1000:g} s"
    waits = "+".join(f"{_longest_wait_us(model) / 1000:g}" for model in plan.models)
    return f"queue timeouts {waits} ms, and {_OBJECTIVES} times the p99 of {plan.objective.p99_ms:g} ms"


def _longest_wait_us(model: ModelPlan) -> int:
    """In any of its queues; 0: for ever."""
    waits = [queue.timeout_us if queue.on_timeout == "reject" else 0 for queue in _queues(model)]
    return max(waits) if waits and all(waits) else 0


def _queues(model: ModelPlan) -> Iterator[Queue]:
    """The one that requests wait in, and those of priority levels that have their own."""
    from generator.spec.serving import Queue

    batching = model.batching
    if batching is None:
        return
    levels = batching.priorities.levels if batching.priorities else 1
    own = batching.priorities.queues if batching.priorities else {}
    yield from own.values()
    if len(own) < levels:  # the other levels wait in the default one
        yield batching.queue or Queue()
