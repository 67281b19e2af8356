"""What benchmarks/verdicts.py counts: verdicts, intervals, comparisons and warm-ups of simulated runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from _verdict_looks import first_verdicts, remembered
from scipy.special import ndtri

from loadtest.statistics import binomial, queues
from loadtest.statistics.bootstrap import bootstrap_interval
from loadtest.statistics.compare import Change, change, difference
from loadtest.statistics.judgement import Verdict
from loadtest.statistics.looks import Looks
from loadtest.statistics.percentile import percentile_interval
from loadtest.statistics.queues import Queue
from loadtest.truth import warm_up

CONFIDENCE, PERCENTILE = 0.99, 0.99
BOUNDS = (0.7, 0.8, 0.85, 1 / 1.1, 0.95, 1.0, 1.05, 1.1, 1.15, 1.25, 1.4)
"""The bounds that are asked of every run, as multiples of the true p99."""
EXACT, HIGHER, LOWER = BOUNDS.index(1.0), BOUNDS.index(1 / 1.1), BOUNDS.index(1.1)
CHUNK = 2_000_000
"""So many requests are drawn at a time."""
MODERATE = 4
"""Correlation is moderate where so many requests at most are worth one: `tau` of "is over the true p99"."""


@dataclass(frozen=True)
class Case:
    """A queue, and where the seeds of its runs start."""

    queue: Queue
    seed: int


def cases() -> dict[str, Case]:
    """All queues by name."""
    found = [
        queues.independent(), queues.mm1(0.1), queues.mm1(0.3), queues.mm1(0.5), queues.mm1(0.7),
        queues.md1(0.2), queues.md1(0.5), queues.autoregressive(0.8), queues.autoregressive(0.95),
        queues.batches("batches, steady", queues.poisson(2)),
        queues.batches("batches, busy", queues.poisson(3)),
        queues.batches("batches, small bursts", queues.bursts((1.5, 2.5), (100, 50))),
        queues.batches("batches, bursts", queues.bursts((1.5, 3.5), (40, 10))),
        queues.batches("batches, long bursts", queues.bursts((1.5, 4), (200, 50))),
        queues.stalls(400, 5), queues.stalls(1500, 20),
    ]  # fmt: skip
    return {queue.name: Case(queue, 1000 * number) for number, queue in enumerate(found, 1)}


def verdicts(
    case: Case, looks: Looks, runs: int, reference: tuple[int, int], judged: Sequence[int] = range(len(BOUNDS))
) -> dict[str, Any]:
    """How the looks decide `runs` runs. `reference`: runs and requests that tell an unknown p99.

    `judged` are the places of the bounds that are asked; at the others all runs stay undecided.
    """
    queue, budget = case.queue, looks.at[-1]
    p99, error = (queue.p99, 0.0) if queue.p99 else queues.simulated_p99(queue, case.seed, *reference)
    bounds = [p99 * bound for bound in BOUNDS]
    generator = np.random.default_rng(case.seed + 1)
    state = np.zeros((runs, len(BOUNDS)), int)
    naive = np.zeros(runs, bool)
    over_at_last, warm = np.zeros((runs, len(BOUNDS))), np.zeros((runs, len(looks)), int)
    for start in range(0, runs, max(1, CHUNK // budget)):
        drawn = queue.draw(generator, min(max(1, CHUNK // budget), runs - start), budget)
        for number, latencies in enumerate(drawn, start):
            with remembered():
                found, warm[number] = first_verdicts(latencies, [bounds[at] for at in judged], looks, CONFIDENCE)
            state[number, list(judged)] = found
            over = np.cumsum(latencies > p99)[np.asarray(looks.at) - 1]
            alone = (binomial.verdict(int(count), at) for count, at in zip(over, looks.at, strict=True))
            naive[number] = next((one is Verdict.PASS for one in alone if one is not Verdict.UNDECIDED), False)
            over_at_last[number] = [np.count_nonzero(latencies > bound) for bound in bounds]
    share = over_at_last.mean(axis=0) / budget
    tau = float(over_at_last[:, EXACT].var(ddof=1) / budget / (share[EXACT] * (1 - share[EXACT])))
    return {
        "name": queue.name, "p99": p99,
        "p99_known": "exactly" if queue.p99 else f"{math.prod(reference):,} simulated",
        "over_standard_error": error, "runs": runs, "looks": list(looks.at), "tau": tau, "worth": budget / tau,
        "ideal_needs": ideal(share[LOWER], share[HIGHER]), "moderate": tau <= MODERATE,
        "warm_up_cut": [float(share) for share in np.mean(warm > 0, axis=0)],
        "binomial_alone_false_pass": float(np.mean(naive)),
        "bounds": [
            {"bound": bound, "over": float(share[place]), **_counted(state[:, place], looks)}
            for place, bound in enumerate(BOUNDS)
        ],
    }  # fmt: skip


def _counted(state: Any, looks: Looks) -> dict[str, Any]:
    used = np.where(state == 0, looks.at[-1], np.asarray(looks.at)[np.maximum(np.abs(state) - 1, 0)])
    return {
        "pass_at": [int(np.sum(state == look + 1)) for look in range(len(looks))],
        "fail_at": [int(np.sum(state == -look - 1)) for look in range(len(looks))],
        "undecided": int(np.sum(state == 0)), "median_requests": float(np.median(used)),
    }  # fmt: skip


def ideal(low: float, high: float) -> float:
    """Independent requests with which one look at 99 % confidence decides 95 % rightly at both bounds.

    The textbook's size of a one-sided test of a share, in the normal approximation: Fleiss (1981), "Statistical
    methods for rates and proportions", 2.
    """
    sure, often, share = float(ndtri(CONFIDENCE)), float(ndtri(0.95)), 1 - PERCENTILE

    def size(other: float) -> float:
        spread = sure * math.sqrt(share * (1 - share)) + often * math.sqrt(other * (1 - other))
        return (spread / (share - other)) ** 2

    return max(size(low), size(high))


def coverage(case: Case, runs: int, n: int) -> dict[str, Any]:
    """How often intervals at 99 % hold the true p99: by order statistics, and by drawing blocks again."""
    p99 = case.queue.p99 or queues.simulated_p99(case.queue, case.seed)[0]
    drawn = case.queue.draw(np.random.default_rng(case.seed + 2), runs, n)
    order = [percentile_interval(run, PERCENTILE) for run in drawn]
    blocks = [bootstrap_interval(run, PERCENTILE) for run in drawn]
    held = {
        name: float(np.mean([i.low <= p99 <= i.high for i in found]))
        for name, found in (("order", order), ("blocks", blocks))
    }
    width = float(np.median([(i.high - i.low) / i.value for i in order]))
    return {"name": case.queue.name, "runs": runs, "requests": n, **held, "width": width}


def comparisons(case: Case, pairs: int, n: int, several: int, noise: float) -> dict[str, Any]:
    """What `several` runs against `several` are said to be, alike and with one side 10 % slower.

    `noise`: the standard deviation of the logarithm by which whole runs differ, as runs on real machines do.
    """
    generator = np.random.default_rng(case.seed + 3 + several)
    found: dict[str, list[Change]] = {"alike": [], "slower": []}
    for _ in range(pairs):
        sides = [_several(case.queue.draw(generator, several, n), noise, generator) for _ in "ab"]
        found["alike"].append(change(difference(*sides, PERCENTILE)))
        found["slower"].append(change(difference(sides[0], [run * 1.1 for run in sides[1]], PERCENTILE)))
    return {
        "name": case.queue.name, "pairs": pairs, "requests": n, "runs_a_side": several, "noise": noise,
        "false_alarms": float(np.mean([one is not Change.SAME for one in found["alike"]])),
        "slower_seen": float(np.mean([one is Change.WORSE for one in found["slower"]])),
    }  # fmt: skip


def _several(runs: Any, noise: float, generator: np.random.Generator) -> list[Any]:
    factors = np.exp(noise * generator.standard_normal(len(runs)))
    return [run * factor for run, factor in zip(runs, factors, strict=True)]


def warm_ups(case: Case, runs: int, n: int) -> list[dict[str, Any]]:
    """What is found at the start of runs of `n` requests that begin in several ways."""
    at = np.arange(n)
    starts: dict[str, tuple[Any, int | None]] = {
        "none": (np.ones(n), 0),
        "the first 10 are 50 times as slow": (np.where(at < 10, 50, 1), 10),
        "the first tenth is twice as slow": (np.where(at < n // 10, 2, 1), n // 10),
        "the first tenth is twice as fast": (np.where(at < n // 10, 0.5, 1), n // 10),
        "two steps, to a tenth and a fifth": (np.where(at < n // 10, 3, np.where(at < n // 5, 1.5, 1)), n // 5),
        "fades from 4 times, by e each twentieth": (1 + 3 * np.exp(-at / (n / 20)), None),
        "slower and slower to the end, by 2": (1 + at / n, None),
        "a step at 70 %": (np.where(at < 0.7 * n, 1.5, 1), None),
        "an outage of 5 % in the middle": (np.where((at >= 0.3 * n) & (at < 0.35 * n), 20, 1), 0),
    }
    generator = np.random.default_rng(case.seed + 4)
    return [
        {"series": name, "queue": case.queue.name, "requests": n, "runs": runs, "true": true,
         **_found([warm_up.find(at * 1000, run * shape) for run in case.queue.draw(generator, runs, n)])}
        for name, (shape, true) in starts.items()
    ]  # fmt: skip


def _found(found: Sequence[warm_up.Found]) -> dict[str, Any]:
    low, middle, high = np.percentile([one.index for one in found], [5, 50, 95], method="nearest")
    return {
        "found": float(np.mean([one.index > 0 for one in found])), "index_5": int(low), "index_50": int(middle),
        "index_95": int(high), "most": max(one.index for one in found),
        "unsettled": float(np.mean([not one.settled for one in found])),
    }  # fmt: skip
