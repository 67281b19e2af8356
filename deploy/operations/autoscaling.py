"""How many pods, and when there are to be more: from the latency-load curve of one pod."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deploy.operations.measured import Load, Measured
from deploy.operations.words import shown
from generator.memory import placed
from generator.plan import ModelPlan, Plan

SPARE = 1  # pods that may be gone (a node, an upgrade) while the rest carries what is promised
LEAST_PODS = 2
SCALE_AT = 0.8  # of what one pod carries: before the objective is lost, and a new pod has to load its models
LEAST_DEPTH = 0.1
_GROWTH = 2  # how many times the promised load the autoscaler may follow, where nobody says


@dataclass(frozen=True)
class Depth:
    """How many requests wait in one pod when there are to be more pods. `measured` is False where a rule says it."""

    requests: float
    why: str
    measured: bool


@dataclass(frozen=True)
class Pods:
    """How many pods are there, and between which bounds an autoscaler may choose."""

    replicas: int
    least: int
    most: int
    why: str
    measured: bool


@dataclass(frozen=True)
class Share:
    """What one pipeline takes of the pods: `promised_rps` of it, where one pod is known to carry `carried_rps`."""

    pipeline: str
    promised_rps: float
    carried_rps: float
    source: str

    @property
    def pods(self) -> float:
        """A share of a pod, or more than one."""
        return self.promised_rps / self.carried_rps


def waiting_requests(rate_rps: float, in_queue_us: float) -> float:
    """The mean number of requests that wait, L = λ x W: the rate of arrivals times the mean time in the queue.

    It holds for any queue in which what arrives also leaves, whatever the order and the distributions: J. D. C.
    Little (1961), "A Proof for the Queuing Formula: L = λW", Operations Research 9(3), 383-387. Seen on server
    2.51: in 25 s of Poisson arrivals the mean of `nv_inference_pending_request_count` was within 6 % of it for each
    of three models. The gauge of an ensemble itself is 0.
    """
    return rate_rps * in_queue_us / 1e6


def depth_of(plans: Sequence[Plan], measured: Measured, pods: int) -> Depth:
    """For all pipelines of one pod together: the metric is one sum over their queues."""
    each = [_measured_depth(plan, measured) or ruled_depth(plan, pods) for plan in plans]
    total = sum(depth.requests for depth in each)
    requests = max(LEAST_DEPTH, _rounded(total))
    return Depth(requests, "; ".join(depth.why for depth in each), all(depth.measured for depth in each))


def _measured_depth(plan: Plan, measured: Measured) -> Depth | None:
    """By Little's law at SCALE_AT of the highest rate that passes; None where no point of the curve tells."""
    best = measured.best(plan.name)
    curve = [load for load in measured.of(plan.name) if load.verdict != "invalid" and load.waiting]
    if best is None or not curve:
        return None
    carried = best.carries_rps.low
    wanted = SCALE_AT * carried
    depth = interpolated(curve, wanted)
    why = (
        f"{plan.name}: Little's law (waiting = rate x time in queue) on {len(curve)} measured "
        f"rate{'s' if len(curve) > 1 else ''}: {shown(depth)} wait at {shown(wanted)} requests/s, which is "
        f"{SCALE_AT:.0%} of the {shown(carried)} that one pod is known to carry ({best.source})"
    )
    return Depth(depth, why, measured=True)


def interpolated(curve: Sequence[Load], rate_rps: float) -> float:
    """The requests that wait at a rate: on straight lines between what was measured, from none at no load.

    Queues grow faster than the load, so a line lies above the truth between its ends: with few points more pods come
    a little later than at SCALE_AT. Beyond the last point it is the last point's.
    """
    points = [(0.0, 0.0)]
    for load in sorted(curve, key=lambda one: one.rate_rps):
        points.append((load.rate_rps, load.waiting_requests or 0.0))
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x0 <= rate_rps <= x1 and x1 > x0:
            return y0 + (y1 - y0) * (rate_rps - x0) / (x1 - x0)
    return points[-1][1]


def ruled_depth(plan: Plan, pods: int) -> Depth:
    """Without a measurement: Little's law with half of the objective as the time in the queue.

    The p99 has to hold the computing too, so requests that wait longer on average leave it no room. Without a
    promised rate it is one batch for each instance of the model with the largest: what fits into the next execution.
    """
    objective = plan.objective
    if objective is not None and objective.throughput_rps is not None:
        rate_rps = objective.throughput_rps / max(1, pods - SPARE)
        depth = waiting_requests(rate_rps, objective.p99_ms * 1000 / 2)
        why = (
            f"{plan.name}: not measured; Little's law with half of the objective's {objective.p99_ms:g} ms in the "
            f"queue, at {shown(rate_rps)} requests/s a pod"
        )
        return Depth(depth, why, measured=False)
    where = placed([plan])
    waiting = max(
        (max(1, model.max_batch_size) * where.instances(plan, model) for model in plan.models), default=1
    )  # fmt: skip
    return Depth(waiting, f"{plan.name}: not measured; one full batch for each instance", measured=False)


def queue_models(plan: Plan) -> tuple[ModelPlan, ...]:
    """The models in whose queues requests wait: all that run something, as any may be the slow one."""
    return plan.models


def shares_of(plans: Sequence[Plan], measured: Measured) -> Iterator[Share]:
    """Of every pipeline that promises a throughput, and of which it is known what a pod carries.

    All run in the same pods, and each was measured alone in one: the shares have to be added.
    """
    for plan in plans:
        promised = plan.objective.throughput_rps if plan.objective else None
        best = measured.best(plan.name)
        if promised is not None and best is not None:
            yield Share(plan.name, promised, best.carries_rps.low, best.source)


def pods_of(plans: Sequence[Plan], measured: Measured, most: int | None = None) -> Pods:
    """Pods for the promised throughput of every pipeline: shares of a pod are added, then a spare one."""
    shares = list(shares_of(plans, measured))
    promised = [plan for plan in plans if plan.objective and plan.objective.throughput_rps is not None]
    known = len(shares) == len(promised)
    words = [
        f"{shown(one.promised_rps)} requests/s of {one.pipeline} / {shown(one.carried_rps)} that one pod is known to "
        "carry"
        for one in shares
    ]
    share = sum(one.pods for one in shares)
    if not words or not known:
        replicas = max(LEAST_PODS, 1 + SPARE)
        what = "nothing measured says what one pod carries" if not known else "no spec promises a throughput"
        why = f"{what}: one pod, and {SPARE} that may be gone"
    else:
        replicas = max(LEAST_PODS, math.ceil(share) + SPARE)
        why = f"{' + '.join(words)}, rounded up, and {SPARE} that may be gone"
    return Pods(replicas, LEAST_PODS, most or max(10, _GROWTH * replicas), why, bool(words) and known)


def _rounded(value: float) -> float:
    """To two digits: a target is no better known."""
    if value <= 0:
        return 0.0
    digits = 1 - math.floor(math.log10(value))
    found = round(value, digits)
    return int(found) if float(found).is_integer() else found
