"""Claim: an engine process comes to full batches whatever it took the times of its sizes for when it started.

    python benchmarks/merging.py

A simulation, without a GPU and in less than a minute: requests that are always in flight, instances that collect up
to 16 of them, and one engine that runs what was handed over, in sizes that take what gpu_served.json says. What is
merged and when it starts is decided by the runtime's own functions (tritonkit_runtime.engine_process.merging). What
the host takes is set by hand, so that rates and tails come near those of the row of single images in shared memory,
and drawn around that. `fixed` never learns another time than its first, as it was for sizes that were not run;
`learning` is the runtime. Writes merging.json and the table of merging.md.
"""

from __future__ import annotations

import heapq
import json
import random
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from _common import HERE, put_table, write_result

sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE.parent / "python_backend"))

from generator.resolve.shared_process import sizes_together
from tritonkit_runtime.buffered.buckets import Buckets
from tritonkit_runtime.engine_process.merging import TRY_EVERY, Times, chosen, hold_s

INSTANCES, LARGEST, SLOTS = 24, 16, 2
LEVELS, SEEDS = (256, 336, 384), range(1, 8)
SECONDS, RAMP_S = 2.0, 0.3
ROW_BYTES, BYTES_A_SECOND = 224 * 224 * 3, 53e9
COLLECTING_S = 0.001  # how long an instance waits for a whole batch of its own
# Of the host: an instance takes and answers a batch, by its items; server and client have an image in between.
TAKING_S, TAKING_EACH_S = 350e-6, 85e-6
ANSWERING_S, ANSWERING_EACH_S = 100e-6, 35e-6
BETWEEN_S, SPREAD_BETWEEN, SPREAD = 1.3e-3, 0.35, 0.15
LAUNCHING_S, NOTICING_S = 100e-6, 100e-6


def engine_s() -> dict[int, float]:
    """Seconds of a batch by its size, from the engine alone; between those that were measured on a straight line."""
    alone = json.loads((HERE / "gpu_served.json").read_bytes())["engine_alone"]["images"]["items_per_s"]
    known = {int(size): int(size) / rate for size, rate in alone.items()}
    found = {}
    for size in sizes_together(LARGEST, INSTANCES):
        below = max(one for one in known if one <= size)
        above = min(one for one in known if one >= size)
        part = (size - below) / (above - below) if above > below else 0.0
        found[size] = known[below] + part * (known[above] - known[below])
    return found


def starts(right: Mapping[int, float]) -> dict[str, dict[int, float]]:
    """What an engine process may have measured while others had the GPU."""
    lot = random.Random(1)  # noqa: S311
    return {
        "right": dict(right),
        "sizes above 32 twice as long": {size: time * (2 if size > 32 else 1) for size, time in right.items()},
        "all by chance, up to three times as long": {s: time * lot.uniform(1, 3) for s, time in right.items()},
    }


@dataclass(frozen=True)
class Job:
    """What an instance hands over: when each of its requests was sent."""

    sent_s: Sequence[float]


class Simulation:
    """Requests, instances and an engine, event by event."""

    def __init__(self, right: Mapping[int, float], first: Mapping[int, float], *, learning: bool, seed: int) -> None:
        self._right, self._learning = right, learning
        self._lot = random.Random(seed)  # noqa: S311
        self._buckets, self._times = Buckets(sorted(right)), Times(BYTES_A_SECOND)
        if learning:
            self._times.guess(first)
        else:
            for size, time in first.items():
                self._times.learn(size, time)
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = self._batches = self._items = 0
        self._now = self._free_at = self._done_at = self._before = 0.0
        self._queue: list[tuple[float, float]] = []  # when a request came, and when it was sent
        self._idle = INSTANCES
        self._waiting: list[Job] = []
        self._under_way: list[int] = []
        self._latencies: list[float] = []

    def run(self, in_flight: int) -> dict[str, float]:
        """Images a second, the p99 in ms and the mean batch of the engine, after the ramp."""
        for _ in range(in_flight):
            self._at(self._lot.random() * 5e-3, self._arrive, 0.0)
        while self._events and self._events[0][0] < SECONDS:
            self._now, _, step, given = heapq.heappop(self._events)
            step(*given)
        late = sorted(self._latencies)
        return {
            "items_per_s": len(late) / (SECONDS - RAMP_S), "p99_ms": 1000 * late[int(0.99 * len(late))],
            "mean_batch": self._items / self._batches,
        }  # fmt: skip

    def _at(self, after_s: float, step: Callable[..., None], *given: Any) -> None:
        self._number += 1
        heapq.heappush(self._events, (self._now + after_s, self._number, step, given))

    def _drawn(self, seconds: float, spread: float = SPREAD) -> float:
        return seconds * self._lot.lognormvariate(0, spread)

    def _arrive(self, sent_s: float) -> None:
        self._queue.append((self._now, sent_s))
        self._collect()

    def _collect(self) -> None:
        while self._idle and self._queue:
            left_s = self._queue[0][0] + COLLECTING_S - self._now
            if len(self._queue) < LARGEST and left_s > 1e-9:
                self._at(left_s, self._collect)
                return
            job = Job([sent_s for _, sent_s in self._queue[:LARGEST]])
            del self._queue[: len(job.sent_s)]
            self._idle -= 1
            self._at(self._drawn(TAKING_S + TAKING_EACH_S * len(job.sent_s)), self._hand_over, job)

    def _hand_over(self, job: Job) -> None:
        self._waiting.append(job)
        self._schedule()

    def _schedule(self) -> None:
        while self._waiting and len(self._under_way) < SLOTS:
            items = [len(job.sent_s) for job in self._waiting]
            copy_s = sum(items) * ROW_BYTES / BYTES_A_SECOND
            held_s = hold_s(sum(items), self._buckets.largest, self._done_at - self._now, copy_s)
            if self._under_way and held_s > 1e-9:
                self._at(held_s, self._schedule)
                return
            trying = self._learning and self._batches % TRY_EVERY == TRY_EVERY - 1
            count = chosen(items, self._buckets, self._times, trying=trying)
            jobs, self._waiting = self._waiting[:count], self._waiting[count:]
            self._start(jobs, sum(items[:count]))

    def _start(self, jobs: Sequence[Job], items: int) -> None:
        bucket = self._buckets.of(items)
        begins = max(self._now + LAUNCHING_S + items * ROW_BYTES / BYTES_A_SECOND, self._free_at)
        self._free_at = begins + self._right[bucket]
        self._done_at = max(self._done_at, self._now) + self._known(bucket)
        self._under_way.append(bucket)
        self._batches += 1
        self._items += items
        noticed_s = self._free_at - self._now + self._lot.expovariate(1 / NOTICING_S)
        self._at(noticed_s, self._finish, jobs, bucket, self._now)

    def _known(self, bucket: int) -> float:
        return self._times.of(bucket) or 0.0

    def _finish(self, jobs: Sequence[Job], bucket: int, since: float) -> None:
        if self._learning:
            self._times.learn(bucket, max(0.0, self._now - max(self._before, since)))
        self._before = self._now
        self._under_way.remove(bucket)
        self._done_at = self._now + sum(map(self._known, self._under_way))
        for job in jobs:
            self._at(self._drawn(ANSWERING_S + ANSWERING_EACH_S * len(job.sent_s)), self._answer, job)
        self._schedule()

    def _answer(self, job: Job) -> None:
        self._idle += 1
        for sent_s in job.sent_s:
            self._at(self._drawn(BETWEEN_S / 2, SPREAD_BETWEEN), self._receive, sent_s)
        self._collect()

    def _receive(self, sent_s: float) -> None:
        if self._now > RAMP_S:
            self._latencies.append(self._now - sent_s)
        self._at(self._drawn(BETWEEN_S / 2, SPREAD_BETWEEN), self._arrive, self._now)


def measured() -> dict[str, Any]:
    """By start, way and requests in flight: medians over the seeds."""
    right = engine_s()
    found: dict[str, Any] = {}
    for name, first in starts(right).items():
        for learning in (False, True):
            for level in LEVELS:
                runs = [Simulation(right, first, learning=learning, seed=seed).run(level) for seed in SEEDS]
                middle = {word: round(statistics.median(run[word] for run in runs), 2) for word in runs[0]}
                found.setdefault(name, {}).setdefault("learning" if learning else "fixed", {})[str(level)] = middle
    return found


HEAD = ("times at the start", "then", *(f"{level} in flight: images/s; p99, ms" for level in LEVELS), "mean batch")


def rows(found: Mapping[str, Any]) -> list[Sequence[str]]:
    """The table of the page."""
    return [
        [start, way, *(f"{one['items_per_s']:,.0f}; {one['p99_ms']:.1f}" for one in levels.values()),
         f"{levels[str(LEVELS[-1])]['mean_batch']:.0f}"]
        for start, ways in found.items() for way, levels in ways.items()
    ]  # fmt: skip


def main() -> None:
    """All of it."""
    found = measured()
    write_result("merging", {"seeds": len(SEEDS), "seconds": SECONDS, "ways": found}, indent=1)
    put_table("merging", HEAD, rows(found))
    for row in rows(found):
        print(" | ".join(row))


if __name__ == "__main__":
    main()
