"""Intervals of percentiles: what they hold, how often, and what they say of too few requests."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.statistics import queues
from loadtest.statistics.bootstrap import bootstrap_interval, resampled
from loadtest.statistics.objective import judge
from loadtest.statistics.percentile import percentile_interval


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=400), st.sampled_from([0.5, 0.9, 0.99, 0.999]))
def test_all_three_are_observed_and_in_order(run: list[int], p: float) -> None:
    found = percentile_interval(run, p)
    assert found.low <= found.value <= found.high
    assert {found.low, found.value, found.high} <= set(run)
    assert found.value == np.quantile(run, p, method="inverted_cdf")
    assert 0 <= found.confidence <= 0.99


@pytest.mark.parametrize(
    "queue", [queues.independent(), queues.mm1(0.5), queues.autoregressive(0.8)], ids=lambda q: q.name
)
@pytest.mark.parametrize(("p", "share"), [(0.99, 0.99), (0.5, 0.5)])
def test_it_holds_the_true_one_as_often_as_it_says(queue: queues.Queue, p: float, share: float) -> None:
    runs = queue.draw(np.random.default_rng(7), 300, 5000)
    true = np.quantile(queue.draw(np.random.default_rng(8), 300, 20_000), share)
    held = [found.low <= true <= found.high for found in (percentile_interval(run, p, 0.95) for run in runs)]
    assert np.mean(held) >= 0.94  # 0.95 asked for; its standard error here is 0.013


def test_it_is_not_much_wider_than_needed() -> None:
    """Of independent requests, the ranks are those of the binomial distribution."""
    run = np.random.default_rng(9).permutation(20_000)
    found = percentile_interval(run, 0.99)
    assert found.low == pytest.approx(19_800 - 37, abs=6)  # 2.576 * sqrt(20,000 * 0.01 * 0.99) = 36.2
    assert found.high == pytest.approx(19_800 + 37, abs=6)


@pytest.mark.parametrize(("n", "confidence"), [(1, 0.0), (10, 0.09), (100, 0.63), (300, 0.94)])
def test_too_few_requests_are_less_sure(n: int, confidence: float) -> None:
    found = percentile_interval(np.random.default_rng(10).permutation(n) + 1, 0.99)
    assert found.high == n
    assert found.confidence == pytest.approx(confidence, abs=0.06)
    assert found.confidence <= 1 - 0.99**n  # the chance that any of them is over the true one


@given(st.integers(0, 2**32), st.floats(0.5, 6))
def test_the_verdict_is_where_the_interval_lies(seed: int, bound: float) -> None:
    run = np.random.default_rng(seed).exponential(1, 3000)
    found = judge(run, bound)
    under, over = bound >= found.interval.high, bound < found.interval.low
    assert found.verdict == ("pass" if under else "fail" if over else "undecided")
    assert found.interval.confidence == pytest.approx(0.98)


@pytest.mark.parametrize(("p", "confidence"), [(0, 0.99), (1, 0.99), (99, 0.99), (0.99, 0), (0.99, 1)])
def test_what_is_no_percentile(p: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        percentile_interval([1, 2], p, confidence)


def test_no_latency() -> None:
    for interval in (percentile_interval, bootstrap_interval):
        with pytest.raises(ValueError, match="no latency"):
            interval([], 0.99)


def test_drawing_blocks_again_agrees_where_requests_are_independent() -> None:
    run = np.random.default_rng(11).exponential(1, 20_000)
    order, blocks = percentile_interval(run, 0.99), bootstrap_interval(run, 0.99)
    assert blocks == bootstrap_interval(run, 0.99)  # the same seed
    assert blocks.value == order.value
    assert blocks.low == pytest.approx(order.low, rel=0.03)
    assert blocks.high == pytest.approx(order.high, rel=0.03)


def test_blocks_keep_what_stood_together() -> None:
    run = np.repeat(np.random.default_rng(12).exponential(1, 2000), 10)
    alone = np.random.default_rng(13).permutation(run)
    assert np.std(resampled(run, 0.99)) > 2 * np.std(resampled(alone, 0.99))


def test_drawing_again_is_the_plain_thing_done_fast() -> None:
    """Blocks drawn, put together and sorted, one resample after the other."""
    run = np.random.default_rng(14).exponential(1, 2000)
    fast = resampled(run, 0.9, resamples=4000)
    generator, length = np.random.default_rng(15), 13  # the cube root of 2,000
    parts = np.array_split(run, 2000 // length)
    slow = [
        np.quantile(np.concatenate([parts[i] for i in generator.integers(len(parts), size=len(parts))]), 0.9)
        for _ in range(1000)
    ]
    assert np.mean(fast) == pytest.approx(np.mean(slow), rel=0.01)
    assert np.std(fast) == pytest.approx(np.std(slow), rel=0.1)


def test_the_older_percentiles_need_no_numpy_until_they_are_asked() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import json, sys, loadtest.statistics; print(json.dumps(sorted(sys.modules)))"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert not {"numpy", "scipy"} & set(json.loads(said))
