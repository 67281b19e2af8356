"""Timings of engines with a clock that the test holds."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.engine.measure.fastest import fastest
from generator.engine.measure.latency import WARM_BLOCK, Timing, latency, median_interval, warm_up
from generator.engine.runner import OnnxRunner


class Clock:
    """Time passes only when an engine runs."""

    def __init__(self) -> None:
        self.ns = 0
        self.ran: list[str] = []

    def __call__(self) -> int:
        return self.ns


class Engine:
    """Takes `item_us` an item, times what `slow` gives, and longer in its first runs."""

    def __init__(self, clock: Clock, name: str, item_us: float, cold: int = 0, noise: float = 0.0) -> None:
        self.clock, self.name, self.item_us, self.cold = clock, name, item_us, cold
        self.random, self.noise, self.runs = random.Random(name), noise, 0

    def run(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.runs += 1
        self.clock.ran.append(self.name)
        cold = 3.0 if self.runs <= self.cold else 1.0
        factor = cold * (1 + self.noise * self.random.random())
        self.clock.ns += int(1000 * self.item_us * len(tensors["x"]) * factor)
        return {}

    def close(self) -> None:
        pass


def batch(size: int) -> dict[str, np.ndarray]:
    return {"x": np.zeros((size, 1), dtype=np.float32)}


def test_times_are_those_of_the_engine() -> None:
    clock = Clock()
    timings = latency({"a": Engine(clock, "a", 10)}, batch, [1, 8], rounds=9, clock_ns=clock)
    assert timings["a"][1].facts() == {"median_us": 10.0, "low_us": 10.0, "high_us": 10.0, "runs": 9}
    assert timings["a"][8].median_us == 80


def test_engines_are_interleaved_in_a_seeded_order() -> None:
    orders = []
    for seed in (0, 0, 1):
        clock = Clock()
        engines = {name: Engine(clock, name, 1) for name in "abc"}
        latency(engines, batch, [1], rounds=20, seed=seed, clock_ns=clock)
        timed = clock.ran[-120::2]  # each timed run follows an untimed one of the same engine
        assert timed == clock.ran[-119::2]
        rounds = [tuple(timed[i : i + 3]) for i in range(0, 60, 3)]
        assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
        assert len(set(rounds)) > 3
        orders.append(rounds)
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("cold", [0, 7, 23])
def test_warm_up_ends_when_it_gets_no_faster(cold: int) -> None:
    clock = Clock()
    engine = Engine(clock, "a", 10, cold=cold)
    runs = warm_up(engine, batch(1), clock)
    assert runs == engine.runs
    assert runs % WARM_BLOCK == 0
    assert 2 * WARM_BLOCK <= runs <= cold + 3 * WARM_BLOCK


def test_warm_up_of_a_slow_engine_ends_by_time() -> None:
    clock = Clock()
    assert warm_up(Engine(clock, "a", 2e6), batch(1), clock) == WARM_BLOCK


def test_outliers_are_kept() -> None:
    clock = Clock()
    timing = latency({"a": Engine(clock, "a", 10, noise=5)}, batch, [1], rounds=31, clock_ns=clock)["a"][1]
    assert len(timing.rounds_us) == 31
    assert min(timing.rounds_us) < timing.low_us < timing.median_us < timing.high_us < max(timing.rounds_us)
    assert timing.median_us == statistics.median(timing.rounds_us)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=80))
def test_the_interval_holds_the_median(values: list[float]) -> None:
    low, high = median_interval(values)
    assert min(values) <= low <= statistics.median(values) <= high <= max(values)


@pytest.mark.parametrize(("count", "left_out"), [(1, 0), (5, 0), (6, 0), (9, 1), (20, 5), (31, 9), (100, 39)])
def test_ranks_of_the_interval(count: int, left_out: int) -> None:
    """The ranks of published tables for 95 %: the 2nd and 8th of 9, the 6th and 15th of 20, the 40th and 61st of 100."""
    assert median_interval(range(1, count + 1)) == (left_out + 1, count - left_out)


def test_the_interval_holds_its_level() -> None:
    random_ = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        low, high = median_interval(random_.exponential(1.0, 31).tolist())
        inside += low <= np.log(2) <= high
    assert inside / 2000 >= 0.94


def timing(values: list[float]) -> Timing:
    return Timing(statistics.median(values), *median_interval(values), tuple(values))


def noisy(median: float, seed: int, rounds: int = 31) -> Timing:
    random_ = random.Random(seed)
    return timing([median * (1 + 0.05 * random_.random()) for _ in range(rounds)])


def test_the_fastest_is_chosen() -> None:
    choice = fastest({"a": {1: noisy(10, 1)}, "b": {1: noisy(20, 2)}}, ["b", "a"])
    assert (choice.name, choice.tied) == ("a", ("a",))
    assert 1.8 < choice.ratios["b"][1] <= choice.ratios["b"][0] <= choice.ratios["b"][2] < 2.2
    assert choice.text.startswith("a is the fastest; b takes 2.0")


def test_what_cannot_be_told_apart_goes_by_preference() -> None:
    same = {"int8": {1: noisy(10, 1)}, "fp32": {1: noisy(10, 2)}, "slow": {1: noisy(30, 3)}}
    for preferred in (["fp32", "int8", "slow"], ["int8", "fp32"]):
        choice = fastest(same, preferred)
        assert choice.name == preferred[0]
        assert set(choice.tied) == {"int8", "fp32"}
        assert "cannot be told apart" in choice.text


def test_noise_that_both_share_does_not_hide_a_difference() -> None:
    """The machine is up to four times as slow in some rounds, for both: round by round the ratio still is 1.1."""
    random_ = random.Random(5)
    shared = [1 + 3 * random_.random() for _ in range(31)]
    timings = {"a": {1: timing([10 * s for s in shared])}, "b": {1: timing([11 * s for s in shared])}}
    assert timings["b"][1].low_us < timings["a"][1].high_us
    assert fastest(timings, ["b", "a"]).name == "a"


def test_weights_decide_between_batch_sizes() -> None:
    timings = {
        "small": {1: noisy(10, 1), 32: noisy(200, 2)},
        "large": {1: noisy(15, 3), 32: noisy(100, 4)},
    }
    assert fastest(timings, []).name == "large"
    assert fastest(timings, [], {1: 0.9, 32: 0.1}).name == "small"
    with pytest.raises(ValueError, match="no batch size"):
        fastest(timings, [], {64: 1.0})


def test_one_engine_and_none() -> None:
    assert fastest({"a": {1: noisy(1, 1)}}, []).text == "a is the only one"
    with pytest.raises(ValueError, match="no engine"):
        fastest({}, [])


def test_real_engines(digits_graph: bytes) -> None:
    runners = {
        "threads_1": OnnxRunner(digits_graph, threads=1),
        "plain": OnnxRunner(digits_graph, optimise=False, threads=1),
    }
    done: list[tuple[int, int]] = []
    timings = latency(
        runners, lambda size: {"pixels": np.zeros((size, 1, 8, 8), np.float32)}, [1, 4], rounds=6,
        progress=lambda *step: done.append(step),
    )  # fmt: skip
    assert done == [(1, 2), (2, 2)]
    assert all(0 < t.low_us <= t.median_us <= t.high_us for of in timings.values() for t in of.values())
    assert fastest(timings, ["plain"]).name in runners
