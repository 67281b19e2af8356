"""The simulated queues: their p99 by formula is that of a simulation, and they are in a steady state."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.statistics import queues

EXACT = [
    queues.independent(),
    queues.mm1(0.1),
    queues.mm1(0.7),
    queues.md1(0.2),
    queues.md1(0.5),
    queues.autoregressive(0.9),
]
BATCHES = queues.batches("batches", queues.poisson(3))
BURSTS = queues.batches("bursts", queues.bursts((1.5, 4), (200, 50)))


@pytest.mark.parametrize("queue", EXACT, ids=lambda queue: queue.name)
def test_the_p99_of_the_formula_is_that_of_a_simulation(queue: queues.Queue) -> None:
    assert queue.p99 is not None
    drawn = queue.draw(np.random.default_rng(1), 200, 10_000)
    shares = (drawn > queue.p99).mean(axis=1)
    assert shares.mean() == pytest.approx(0.01, abs=4 * shares.std() / np.sqrt(200))
    assert queues.simulated_p99(queue, 2, runs=100, n=10_000)[0] == pytest.approx(queue.p99, rel=0.05)


@pytest.mark.parametrize("queue", [*EXACT, BATCHES, BURSTS, queues.stalls(400, 5)], ids=lambda queue: queue.name)
def test_runs_begin_as_they_go_on(queue: queues.Queue) -> None:
    drawn = queue.draw(np.random.default_rng(3), 2000, 100)
    starts, ends = drawn[:, 0], drawn[:, -20]  # the last few have nobody behind them to share a batch with
    error = np.sqrt((starts.var() + ends.var()) / 2000)
    assert starts.mean() == pytest.approx(ends.mean(), abs=4 * error)


def test_the_same_seed_gives_the_same_runs() -> None:
    one, two = (BURSTS.draw(np.random.default_rng(4), 3, 500) for _ in "ab")
    assert np.array_equal(one, two)


def test_batches_by_hand() -> None:
    """Up to two at a time, which take 1 + 0.1 each; the oldest waits 0.5 for a second."""
    arrivals = np.array([[0.0, 0.2, 0.3, 5.0]])
    latencies = queues.served_in_batches(arrivals, largest=2, delay=0.5, item=0.1)
    # 0 and 0.2 start at 0.2, done at 1.4; 0.3 alone starts then, done at 2.5; 5.0 waits until 5.5, done at 6.6.
    assert latencies == pytest.approx(np.array([[1.4, 1.2, 2.2, 1.6]]))


def test_bursts_last_as_long_as_they_say() -> None:
    gaps = queues.bursts((1.0, 1000.0), (300, 100))(np.random.default_rng(5), 50, 20_000)
    fast = gaps < 0.02  # the high rate's gaps are 0.001 on average, the low rate's 1
    assert fast.mean() == pytest.approx(0.25, abs=0.03)
