"""The simulated batcher against what its rules are known to give."""

from __future__ import annotations

import numpy as np
import pytest
from batcher_simulator import Batcher, Simulation


def toy(delay_us: int, requests: int = 60_000) -> float:
    """The p99 in ms of the toy: 2 instances, 2 + 0.1 b ms, 2,000 requests a second, batches up to 32."""
    arrivals = np.cumsum(np.random.default_rng(1).exponential(500, requests))
    latencies = Simulation(Batcher(delay_us, 2, 32), lambda batch: 2000 + 100 * batch).run(arrivals.tolist())
    return float(np.percentile(latencies[requests // 20 :], 99, method="inverted_cdf")) / 1000


@pytest.mark.parametrize(
    ("delay_us", "p99_ms"),
    [(0, 4.59), (100, 4.71), (500, 4.61), (1000, 3.75), (2000, 4.90), (5000, 8.60), (10_000, 14.60)],
)
def test_the_figures_of_the_toy(delay_us: int, p99_ms: float) -> None:
    assert toy(delay_us) == pytest.approx(p99_ms, rel=0.01)


def test_a_single_request_waits_for_the_delay_and_no_longer() -> None:
    assert Simulation(Batcher(3000), lambda batch: 1000).run([0.0]) == [4000.0]
    assert Simulation(Batcher(0), lambda batch: 1000).run([0.0]) == [1000.0]


def test_a_preferred_size_ends_the_wait() -> None:
    simulation = Simulation(Batcher(1_000_000, max_batch=8, preferred=(4,)), lambda batch: 1000)
    assert simulation.run([0.0, 10.0, 20.0, 30.0]) == [1030.0, 1020.0, 1010.0, 1000.0]
    assert simulation.batch_sizes == {4: 1}


def test_every_request_is_answered_once_and_no_batch_is_too_large() -> None:
    random = np.random.default_rng(2)
    for trial in range(30):
        batcher = Batcher(
            int(random.integers(0, 3000)), int(random.integers(1, 4)), int(random.integers(1, 17)),
        )  # fmt: skip
        arrivals = np.cumsum(random.exponential(random.integers(100, 2000), 500)).tolist()
        simulation = Simulation(batcher, lambda batch: 300 + 50 * batch)
        latencies = simulation.run(arrivals)
        assert all(latency > 349.999 for latency in latencies), trial
        assert sum(size * count for size, count in simulation.batch_sizes.items()) == 500
        assert max(simulation.batch_sizes) <= batcher.max_batch


def test_one_more_than_preferred_happens() -> None:
    """Where the largest preferred size is not the largest batch."""
    arrivals = np.cumsum(np.random.default_rng(3).exponential(400, 5000)).tolist()
    simulation = Simulation(Batcher(2000, 1, 16, (4,)), lambda batch: 1500 + 100 * batch)
    simulation.run(arrivals)
    assert simulation.batch_sizes.get(5, 0) > 0
