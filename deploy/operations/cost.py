"""What a million inferences cost: the price of a GPU over what one pod carries at its objective."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deploy.operations.measured import Interval, Load
from generator.problems import Place, Problem, Severity
from generator.project import EMBEDDED

SECONDS_PER_HOUR = 3600
MILLION = 1e6


@dataclass(frozen=True)
class Cost:
    """Of one measurement. `per_million` is None where it says nothing of the objective, and `why` says why not.

    `is_bound`: nobody knows how much more it would carry than it was asked for, so that it costs this at most. Then
    all of `per_million` is the cost at the rate that is known to be carried, the lower end of the interval.
    """

    load: Load
    inferences_per_s: Interval | None
    per_million: Interval | None
    why: str
    is_bound: bool


@dataclass(frozen=True)
class Deployed:
    """What it costs as it runs: `pods` are paid for at any load, and here they carry the promised rate."""

    pods: int
    per_hour: float
    rate_rps: float
    per_million: float


def cost_of(load: Load, price_per_hour: float, gpus: int = 1) -> Cost:
    """Of a pod with `gpus` GPUs for `price_per_hour` each, in the unit of the price.

    price x gpus / 3600 s is what a second costs; over inferences a second it is what one costs. An inference is an
    item: a request with a batch of 8 brings 8.
    """
    if load.verdict != "pass":
        why = f"{load.source}: the verdict is {load.verdict}, so no rate is known to meet the objective: {load.why}"
        return Cost(load, None, None, why, is_bound=False)
    carried = load.carries_rps
    inferences = Interval(
        carried.value * load.items, carried.low * load.items, carried.high * load.items, carried.confidence
    )
    if inferences.low <= 0:
        return Cost(load, inferences, None, f"{load.source}: nothing was answered for certain", is_bound=False)
    per_million = inferences.inverse(price_per_hour * gpus / SECONDS_PER_HOUR * MILLION)
    if load.capacity_rps is not None and load.capacity_rps.is_known:
        return Cost(load, inferences, per_million, load.why, is_bound=False)
    most = per_million.high
    return Cost(load, inferences, Interval(most, most, most, per_million.confidence), load.why, is_bound=True)


def problems_of(loads: Sequence[Load]) -> Iterator[Problem]:
    """Warnings (TK428): what was measured is not what the price is of, or not the same on both sides."""
    on_cpu = list(dict.fromkeys(load.source for load in loads if load.target == EMBEDDED))
    if on_cpu:
        yield _not_the_same(
            on_cpu[0],
            f"{' and '.join(on_cpu)}: measured on target `{EMBEDDED}`, which is on the CPU; the price is of a GPU",
            "measure a pod on that GPU: `tritonkit load run --url`",
        )
    targets = {load.target: load.source for load in loads if load.target}
    if len(targets) > 1:
        shown = " and ".join(f"{source} on `{target}`" for target, source in targets.items())
        yield _not_the_same(
            loads[0].source,
            f"the load tests are of different targets, {shown}: what is saved is not by tuning alone",
            "measure both on one target",
        )


def _not_the_same(source: str, message: str, hint: str) -> Problem:
    return Problem("TK428", Place(source), "made", message, hint, Severity.WARNING)


def saving(tuned: Cost, baseline: Cost) -> Interval | None:
    """The share of the baseline's cost that is saved, from the ends of both intervals; None where it is not known.

    That a baseline carried what it was asked for is no figure of it: it might carry as much as the tuned one. A tuned
    one of which no more is known saves this at least. Both intervals hold together with at least the confidence that
    is left when their chances of being wrong add up (Bonferroni's inequality).
    """
    if tuned.per_million is None or baseline.per_million is None or baseline.is_bound:
        return None
    a, b = tuned.per_million, baseline.per_million
    both = a.is_known and b.is_known
    confidence = max(0.0, a.confidence + b.confidence - 1) if both else 0.0
    return Interval(1 - a.value / b.value, 1 - a.high / b.low, 1 - a.low / b.high, confidence)


def deployed(load: Load, pods: int, rate_rps: float, price_per_hour: float, gpus: int = 1) -> Deployed:
    """What `pods` cost that carry `rate_rps` requests a second together. Raises ValueError for a rate of 0."""
    if rate_rps <= 0:
        raise ValueError("a release that carries nothing has no cost per inference")
    per_hour = pods * price_per_hour * gpus
    return Deployed(pods, per_hour, rate_rps, per_hour / SECONDS_PER_HOUR / (rate_rps * load.items) * MILLION)
