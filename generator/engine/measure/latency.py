"""Latency of engines by batch: interleaved, in a random order, warmed up until it no longer gets faster.

Machines are shared and change their clock: only what ran side by side can be compared. So in every round each engine
runs once, in a new order, and two engines are compared by their ratios round by round.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generator.engine.runner import Runner

if TYPE_CHECKING:
    from generator.engine.runner import Tensors

ROUNDS = 31
# Warm-up: blocks of runs until one is not faster than the one before by more than a share, or the time is over.
WARM_BLOCK, WARM_GAIN, WARM_SECONDS = 5, 0.05, 3.0


@dataclass(frozen=True)
class Timing:
    """One engine at one batch size. `low_us` to `high_us` holds the true median in 95 % of such measurements.

    `rounds_us` are all times in the order of the rounds; nothing is taken out.
    """

    median_us: float
    low_us: float
    high_us: float
    rounds_us: tuple[float, ...]

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "median_us": round(self.median_us, 3), "low_us": round(self.low_us, 3), "high_us": round(self.high_us, 3),
            "runs": len(self.rounds_us),
        }  # fmt: skip


Timings = Mapping[str, Mapping[int, Timing]]


def latency(
    runners: Mapping[str, Runner],
    make_batch: Callable[[int], Tensors],
    batches: Sequence[int],
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, dict[int, Timing]]:
    """Engine → batch size → its timing. `make_batch(size)` gives one batch of inputs, the same to every engine.

    Each timed run follows an untimed one of the same engine, so that none starts with another's caches: in a server
    an engine runs after itself. What a runner raises is not caught.
    """
    order = random.Random(seed)  # noqa: S311  (no secret)
    result: dict[str, dict[int, Timing]] = {name: {} for name in runners}
    for done, size in enumerate(batches):
        tensors = make_batch(size)
        for runner in runners.values():
            warm_up(runner, tensors, clock_ns)
        times: dict[str, list[float]] = {name: [] for name in runners}
        for _ in range(rounds):
            for name in order.sample(list(runners), len(runners)):
                runners[name].run(tensors)
                times[name].append(_once_us(runners[name], tensors, clock_ns))
        for name, values in times.items():
            low, high = median_interval(values)
            result[name][size] = Timing(statistics.median(values), low, high, tuple(values))
        if progress is not None:
            progress(done + 1, len(batches))
    return result


def warm_up(runner: Runner, tensors: Tensors, clock_ns: Callable[[], int] = time.perf_counter_ns) -> int:
    """Runs it until it does not get faster; how many runs that took."""
    runs, before, start = 0, math.inf, clock_ns()
    while True:
        now = statistics.median(_once_us(runner, tensors, clock_ns) for _ in range(WARM_BLOCK))
        runs += WARM_BLOCK
        if now >= before * (1 - WARM_GAIN) or clock_ns() - start > WARM_SECONDS * 1e9:
            return runs
        before = now


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the median between two of the sorted values, whatever their distribution.

    The number of values below the median is binomial(n, ½): the k-th smallest and the k-th largest hold it in all but
    2·P(X < k) of the cases (David and Nagaraja, Order Statistics, 2003, 7.1). With fewer than six values no pair of
    them does; then it is the least and the greatest.
    """
    ordered = sorted(values)
    count, below, rank = len(ordered), 0.0, 0
    while rank < count // 2 and (below := below + math.comb(count, rank) / 2**count) <= 0.025:
        rank += 1
    # `rank` values may be left out on either side.
    left_out = max(0, rank - 1)
    return ordered[left_out], ordered[count - 1 - left_out]


def _once_us(runner: Runner, tensors: Tensors, clock_ns: Callable[[], int]) -> float:
    start = clock_ns()
    runner.run(tensors)
    return (clock_ns() - start) / 1000
