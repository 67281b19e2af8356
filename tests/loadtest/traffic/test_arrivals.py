"""Arrivals are what they are called: by their distribution, at fixed seeds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from loadtest.traffic import order
from loadtest.traffic.arrivals import draw
from loadtest.traffic.schedule import Schedule

RATE, SECONDS = 400.0, 30.0
Rate = Callable[[float], float]


def drawn(
    kind: str = "poisson", rate: float = RATE, seconds: float = SECONDS, seed: int = 1, **shape: Any
) -> Schedule:
    return draw(kind, rate, seconds, seed, mix={"p": 1}, payloads={"p": 8}, **shape)


def times(schedule: Schedule) -> np.ndarray[Any, np.dtype[np.float64]]:
    return schedule.due_ns / 1e9


# Poisson ---------------------------------------------------------------------------------------------------


def test_gaps_are_exponential() -> None:
    """Over many seeds: each test's p-value is what it should be, evenly spread from 0 to 1."""
    p_values = []
    for seed in range(300):
        gaps = np.diff(times(drawn(seconds=5, seed=seed)), prepend=0.0)
        p_values.append(stats.kstest(gaps * RATE, "expon").pvalue)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_gaps_do_not_depend_on_the_one_before() -> None:
    gaps = np.diff(times(drawn(seconds=250)))
    assert len(gaps) > 95_000
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 3 / math.sqrt(len(gaps))


def test_counts_vary_as_those_of_a_poisson_process() -> None:
    counts = np.array([len(drawn(rate=50, seconds=2, seed=seed)) for seed in range(1000)])
    dispersion = float(((counts - 100) ** 2).sum() / 100)
    assert 0.005 < stats.chi2(len(counts)).cdf(dispersion) < 0.995
    assert abs(counts.mean() - 100) < 3 * math.sqrt(100 / len(counts))


def test_constant_arrivals_are_a_gap_apart() -> None:
    found = drawn("constant", rate=300.0, seconds=10)
    assert len(found) == 3000
    assert found.due_ns[0] == 0
    assert np.abs(found.due_ns - np.arange(3000) * 1e9 / 300).max() <= 0.5


@pytest.mark.parametrize(
    ("rate", "seconds", "count"),
    [(0.1, 10, 1), (10, 0.3, 3), (10, 0.301, 4), (4.4, 25, 110), (3, 1 / 3, 1), (7, 0.7, 5)],
)
def test_how_many_constant_arrivals_there_are(rate: float, seconds: float, count: int) -> None:
    """Those that are due before the end, and none at it."""
    assert len(drawn("constant", rate, seconds)) == count


# Rates that change -----------------------------------------------------------------------------------------


def bursts(t: float) -> float:
    return RATE * (4 if t % 6 >= 4.5 else 1)


def day(t: float) -> float:
    return RATE * (1 - 0.9 * math.cos(2 * math.pi * t * 2 / SECONDS))


SHAPES: list[tuple[str, dict[str, float], Rate, float]] = [
    ("ramp", {}, lambda t: RATE * t / SECONDS, RATE),
    ("ramp", {"from_rps": 1000.0}, lambda t: 1000 + (RATE - 1000) * t / SECONDS, 1000),
    ("ramp", {"from_rps": RATE}, lambda t: RATE, RATE),
    ("burst", {"times": 4.0, "every_s": 6.0, "length_s": 1.5}, bursts, 4 * RATE),
    ("diurnal", {"depth": 0.9, "days": 2.0}, day, 1.9 * RATE),
    ("diurnal", {"depth": 1.0}, lambda t: RATE * (1 - math.cos(2 * math.pi * t / SECONDS)), 2 * RATE),
    ("diurnal", {"depth": 0.0, "days": 0.5}, lambda t: RATE, RATE),
]
NAMES = ["rising", "falling", "flat ramp", "bursts", "two days", "a day with a silent night", "half a flat day"]


@pytest.mark.parametrize(("kind", "shape", "rate", "peak"), SHAPES, ids=NAMES)
def test_arrivals_follow_the_rate(kind: str, shape: dict[str, float], rate: Rate, peak: float) -> None:
    """A Poisson process of a changing rate, seen through the integral of the rate, is one of rate 1."""
    moments = np.linspace(0, SECONDS, 30_001)
    integral = integrate.cumulative_simpson([rate(t) for t in moments], x=moments, initial=0)
    p_values = []
    for seed in range(60):
        found = drawn(kind, seed=seed, **shape)
        units = np.interp(times(found), moments, integral)
        p_values.append(stats.kstest(np.diff(units, prepend=0.0), "expon").pvalue)
        assert abs(len(found) - integral[-1]) < 4 * math.sqrt(integral[-1])
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert found.drawn["mean_rps"] == pytest.approx(integral[-1] / SECONDS, rel=1e-3)


def test_the_burst_is_where_it_is_said_to_be() -> None:
    found = times(drawn("burst", rate=200, seconds=600, times=10, every_s=10, length_s=1)) % 10
    inside = int((found >= 9).sum())
    assert inside == pytest.approx(200 * 10 * 60, rel=0.02)
    assert len(found) - inside == pytest.approx(200 * 9 * 60, rel=0.02)


def test_bursts_when_nothing_is_said_of_them() -> None:
    assert drawn("burst", seconds=60).drawn["shape"] == {"times": 5.0, "every_s": 10.0, "length_s": 1.0}
    assert drawn("burst", seconds=2).drawn["shape"] == {"times": 5.0, "every_s": 1.0, "length_s": 0.1}


# Mixes and payloads ----------------------------------------------------------------------------------------

MIX = {"a": 7.0, "b": 2.0, "c": 1.0}
PAYLOADS = {"a": 5, "b": 3, "c": 1}


def mixed(seconds: float = 100, seed: int = 1, kind: str = "poisson", rate: float = RATE) -> Schedule:
    return draw(kind, rate, seconds, seed, mix=MIX, payloads=PAYLOADS)


def test_the_mix_is_what_was_asked_for() -> None:
    found = mixed()
    assert found.drawn["mix"] == {"a": 0.7, "b": 0.2, "c": 0.1}
    expected = np.array([0.7, 0.2, 0.1]) * len(found)
    p_values = [
        stats.chisquare(counts, expected / len(found) * counts.sum()).pvalue
        for counts in (np.bincount(mixed(20, seed).pipeline, minlength=3) for seed in range(200))
    ]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_a_pipeline_does_not_depend_on_the_one_before_nor_on_the_gap() -> None:
    found = mixed()
    table = np.histogram2d(found.pipeline[:-1], found.pipeline[1:], bins=3)[0]
    assert stats.chi2_contingency(table).pvalue > 0.01
    gaps = np.diff(found.due_ns)
    assert stats.ks_2samp(gaps[found.pipeline[1:] == 0], gaps[found.pipeline[1:] == 1]).pvalue > 0.01


def test_payloads_go_round_in_new_orders() -> None:
    found = mixed()
    of_a = found.payload[found.pipeline == 0]
    rounds = of_a[: len(of_a) // 5 * 5].reshape(-1, 5)
    assert (np.sort(rounds, axis=1) == np.arange(5)).all()
    assert len(np.unique(rounds, axis=0)) == 120
    for place in range(5):
        assert stats.chisquare(np.bincount(rounds[:, place], minlength=5)).pvalue > 0.001
    assert set(found.payload[found.pipeline == 2]) == {0}


# What a seed means -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "rate", "seconds"),
    [("poisson", 950, 100), ("constant", 400, 100), ("ramp", 700, 150), ("poisson", 400, 130)],
)
def test_what_is_sent_does_not_depend_on_when(kind: str, rate: float, seconds: float) -> None:
    one, other = mixed(), mixed(seconds, kind=kind, rate=rate)
    both = min(len(one), len(other))
    assert both > 30_000
    assert (one.pipeline[:both] == other.pipeline[:both]).all()
    assert (one.payload[:both] == other.payload[:both]).all()


def test_another_rate_moves_the_same_arrivals() -> None:
    slow, fast = drawn(rate=100), drawn(rate=1000, seconds=SECONDS / 10)
    assert len(slow) == len(fast)
    assert np.abs(slow.due_ns / 10 - fast.due_ns).max() <= 1


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    short, long = drawn(seconds=7), drawn(seconds=700)
    assert (long.due_ns[: len(short)] == short.due_ns).all()
    assert long.due_ns[len(short)] >= 7e9


def test_it_does_not_matter_in_how_many_goes_it_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = order.unit_arrivals(1, 5000.0)
    monkeypatch.setattr(order, "_MARGIN", -30.0)
    assert (order.unit_arrivals(1, 5000.0) == at_once).all()


def test_pipelines_go_round_in_orders_of_their_own() -> None:
    found = draw("poisson", RATE, 30, 1, mix={"a": 1, "b": 1}, payloads={"a": 50, "b": 50})
    of_a, of_b = (found.payload[found.pipeline == index][:50].tolist() for index in range(2))
    assert sorted(of_a) == sorted(of_b)
    assert of_a != of_b


def test_seeds_differ_in_everything_and_repeat() -> None:
    one, again, other = mixed(seed=1), mixed(seed=1), mixed(seed=2)
    both = min(len(one), len(other))
    for name in ("due_ns", "pipeline", "payload"):
        assert getattr(one, name).tobytes() == getattr(again, name).tobytes()
        assert (getattr(one, name)[:both] != getattr(other, name)[:both]).mean() > 0.2


def test_a_seed_keeps_its_meaning() -> None:
    """Recorded once: a run of an earlier release is repeated by the same words."""
    found = mixed(seconds=0.02, seed=42)
    assert found.due_ns.tolist() == [
        1714132,
        4111913,
        6714602,
        7088528,
        7286919,
        7598908,
        11861446,
        12475095,
        17175902,
        18252230,
        18695587,
        19248088,
    ]
    assert found.pipeline.tolist() == [0, 2, 0, 0, 0, 0, 2, 2, 0, 2, 0, 0]
    assert found.payload.tolist() == [1, 0, 3, 2, 0, 4, 0, 0, 1, 0, 0, 2]
