"""Simulated queues whose p99 is known: what the statistics are validated on.

Each draws many runs at once, [runs, n] latencies in units of a mean service time, in their steady state, in the order
of arrival.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.signal import lfilter
from scipy.special import ndtri

Floats = np.ndarray[Any, np.dtype[np.float64]]
Draw = Callable[[np.random.Generator, int, int], Floats]

SETTLE = 1000
"""Requests before those that are returned, where a queue starts empty."""


@dataclass(frozen=True)
class Queue:
    """A queue: `draw(generator, runs, n)` -> latencies [runs, n]. `p99` is None where only a simulation tells it."""

    name: str
    draw: Draw
    p99: float | None = None


def independent() -> Queue:
    """Exponential latencies that have nothing to do with each other."""
    return Queue("independent, exponential", lambda r, runs, n: r.exponential(1, (runs, n)), math.log(100))


def mm1(load: float) -> Queue:
    """Poisson arrivals, exponential service, one server.

    The time in the system is exponential with mean 1 / (1 - load): Kleinrock (1975), "Queueing Systems", volume 1.
    The waiting times follow Lindley's recursion (1952), solved by running minima.
    """

    def draw(r: np.random.Generator, runs: int, n: int) -> Floats:
        service, gaps = r.exponential(1, (runs, n)), r.exponential(1 / load, (runs, n))
        waits = np.where(r.random(runs) < load, r.exponential(1 / (1 - load), runs), 0)
        steps = np.column_stack([waits, service[:, :-1] - gaps[:, 1:]])
        return _waits(steps) + service

    return Queue(f"M/M/1, load {load:g}", draw, math.log(100) / (1 - load))


def md1(load: float) -> Queue:
    """Poisson arrivals, constant service, one server. Its p99: Erlang (1909), "The theory of probabilities and
    telephone conversations": P(wait <= x) = (1 - load) * sum over k <= x of (load * (k - x))^k / k! * exp(-load * (k
    - x)).
    """

    def draw(r: np.random.Generator, runs: int, n: int) -> Floats:
        steps = 1 - r.exponential(1 / load, (runs, n + SETTLE))
        steps[:, 0] = 0
        return (_waits(steps) + 1)[:, SETTLE:]

    def waits_at_most(x: float) -> float:
        powers = ((load * (k - x), k) for k in range(int(x) + 1))
        return (1 - load) * math.fsum(base**k / math.factorial(k) * math.exp(-base) for base, k in powers)

    return Queue(f"M/D/1, load {load:g}", draw, 1 + float(brentq(lambda x: waits_at_most(x) - 0.99, 0, 40)))


def autoregressive(coefficient: float, spread: float = 0.3) -> Queue:
    """Log-normal latencies, their logarithms an autoregression of order 1: each takes after the one before."""

    def draw(r: np.random.Generator, runs: int, n: int) -> Floats:
        noise = r.standard_normal((runs, n)) * math.sqrt(1 - coefficient**2)
        noise[:, 0] /= math.sqrt(1 - coefficient**2)
        found: Floats = np.exp(spread * lfilter([1], [1, -coefficient], noise, axis=1))
        return found

    return Queue(f"autoregressive, {coefficient:g}", draw, math.exp(spread * float(ndtri(0.99))))


def batches(name: str, gaps: Draw, *, largest: int = 8, delay: float = 0.5, item: float = 0.1) -> Queue:
    """One server that takes up to `largest` waiting requests at a time, for 1 + `item` each, and waits up to `delay`
    for a batch to fill: a dynamic batcher with one instance. `gaps` between arrivals are drawn as latencies are.
    """

    def draw(r: np.random.Generator, runs: int, n: int) -> Floats:
        arrivals = np.cumsum(gaps(r, runs, n + SETTLE), axis=1)
        return served_in_batches(arrivals, largest, delay, item)[:, SETTLE:]

    return Queue(name, draw)


def poisson(rate: float) -> Draw:
    """Gaps of Poisson arrivals."""
    return lambda r, runs, n: r.exponential(1 / rate, (runs, n))


def bursts(rates: tuple[float, float], lengths: tuple[float, float]) -> Draw:
    """Gaps of arrivals that alternate between a low and a high rate (a Markov-modulated Poisson process, its phases
    counted in requests): each phase lasts a geometric number of requests with the mean of `lengths`.
    """

    def draw(r: np.random.Generator, runs: int, n: int) -> Floats:
        ends = 1 / np.asarray(lengths)
        phase = (r.random(runs) < lengths[1] / sum(lengths)).astype(int)
        chance, phases = r.random((n, runs)), np.empty((n, runs), int)
        for number in range(n):
            phase = phase ^ (chance[number] < ends[phase])
            phases[number] = phase
        gaps: Floats = r.exponential(1, (runs, n)) / np.asarray(rates)[phases.T]
        return gaps

    return draw


def stalls(every: float, length: float) -> Queue:
    """Independent log-normal latencies, and stalls: one in `every` requests on average, for as long as `length`
    requests take to arrive on average. What comes meanwhile waits until the stall ends.
    """

    def draw(r: np.random.Generator, runs: int, n: int) -> Floats:
        begins = np.where(r.random((n, runs)) < 1 / every, r.exponential(length, (n, runs)), 0)
        left, waits = np.zeros(runs), np.empty((n, runs))
        for number in range(n):
            left = np.maximum(np.maximum(left - 1, 0), begins[number])
            waits[number] = left
        found: Floats = waits.T + np.exp(0.3 * r.standard_normal((runs, n)))
        return found

    return Queue(f"a stall of {length:g} requests in {every:g}", draw)


def served_in_batches(arrivals: Floats, largest: int, delay: float, item: float) -> Floats:
    """The latencies of the arrivals [runs, n], which ascend. Each step is the next batch of every run.

    Nobody comes behind the last request to share its batch, so that the last few are a little faster.
    """
    runs, n = arrivals.shape
    padded = np.concatenate([arrivals, np.full((runs, largest), np.inf)], axis=1)
    latencies, first, free = np.empty((runs, n)), np.zeros(runs, int), np.zeros(runs)
    places = np.arange(largest)
    going = np.arange(runs)
    while len(going):
        at = first[going][:, None] + places
        waiting = padded[going[:, None], at]
        # It starts when the server is free and the batch is full or its oldest has waited for long enough.
        start = np.maximum(free[going], np.minimum(waiting[:, 0] + delay, waiting[:, -1]))
        taken = waiting <= start[:, None]
        count = taken.sum(axis=1)
        done = start + 1 + item * count
        latencies[np.repeat(going, count), at[taken]] = (done[:, None] - waiting)[taken]
        first[going] += count
        free[going] = done
        going = going[first[going] < n]
    return latencies


def simulated_p99(
    queue: Queue, seed: int, runs: int = 1000, n: int = 40_000, chunk: int = 100
) -> tuple[float, float]:
    """The p99 of `runs` runs of `n` requests, and the standard error of the share of requests over it."""
    generator = np.random.default_rng(seed)
    parts = [queue.draw(generator, min(chunk, runs - done), n) for done in range(0, runs, chunk)]
    everything = np.concatenate(parts)
    p99 = float(np.quantile(everything, 0.99))
    shares = (everything > p99).mean(axis=1)
    return p99, float(shares.std(ddof=1) / math.sqrt(runs))


def _waits(steps: Floats) -> Floats:
    """Lindley's recursion w' = max(w + step, 0) along the last axis; the first step is the first wait."""
    walk = np.cumsum(steps, axis=1)
    found: Floats = walk - np.minimum(np.minimum.accumulate(walk, axis=1), 0)
    return found
