"""`--find-max`: the bracket around the highest rate, and whole searches on the simulated batcher."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from simulated_bench import SimulatedBench, swept

from loadtest.results.run import Objective, Run
from loadtest.sweep.highest import PRECISION, RATES, Outcome, bracket
from loadtest.sweep.setting import DELAY, Setting

ONE = Setting(((DELAY, 0),))


@pytest.mark.parametrize(
    ("verdicts", "low", "high", "next_rps"),
    [
        ({}, 0, None, 100),
        ({100: ("pass", 1)}, 100, None, 200),
        ({100: ("pass", 1), 200: ("pass", 1)}, 200, None, 400),
        ({100: ("pass", 1), 200: ("fail", 1)}, 100, 200, math.sqrt(20_000)),
        ({100: ("fail", 1)}, 0, 100, 50),
        ({100: ("fail", 1), 50: ("pass", 1)}, 50, 100, math.sqrt(5000)),
        ({100: ("undecided", 1)}, 0, None, 100),
        ({100: ("undecided", 3)}, 0, 100, 50),
        ({100: ("pass", 1), 200: ("undecided", 2)}, 100, None, 200),
        ({100: ("pass", 1), 104: ("fail", 1)}, 100, 104, None),
        ({1: ("fail", 1)}, 0, 1, None),
        ({100: ("pass", 1), 200: ("invalid", 2)}, 100, None, 200),
        # A lower rate that fails: what passes above it was luck.
        ({100: ("fail", 1), 200: ("pass", 1), 50: ("pass", 1)}, 50, 100, math.sqrt(5000)),
    ],
)
def test_what_is_tried_next(
    verdicts: dict[float, tuple[Outcome, int]], low: float, high: float | None, next_rps: float | None
) -> None:
    found = bracket(ONE, verdicts, 100, "")
    assert (found.low, found.high) == (low, high)
    assert found.next_rps == (None if next_rps is None else pytest.approx(next_rps))


@dataclass
class OnTheEdge(SimulatedBench):
    """Passes up to 1,000 requests a second, fails from 3,000 on, and between them its p99 is the bound: nobody knows."""

    def measure(
        self, rate_rps: float, seconds: float, seed: int, folder: Path, progress: Callable[[str], None]
    ) -> Run:
        count = round(rate_rps * seconds)
        due = np.cumsum(np.random.default_rng(seed).exponential(1e6 / rate_rps, count))
        normal = np.random.default_rng(len(self.applied)).normal(size=count) - NormalDist().inv_cdf(0.99)
        p99_us = 8000 * (0.5 if rate_rps <= 1000 else 2.0 if rate_rps >= 3000 else 1.0)
        return self._write(folder, due, p99_us * np.exp(normal / 2), rate_rps, {1: count}, None)


@pytest.mark.parametrize(("start", "fails"), [(4000, 4000.0), (1000, None)])
def test_what_stays_undecided_is_not_said_to_fail(start: float, fails: float | None, tmp_path: Path) -> None:
    """The search goes below it; but what is told is what was shown."""
    sweep = swept(tmp_path, [f"{DELAY}=0"], OnTheEdge(), find_max=True, rate_rps=start, seconds=1.0,
                  objective=Objective(p99_ms=8, max_error_rate=0.01))  # fmt: skip
    [point] = sweep.points
    assert point.max_rate is not None
    assert point.max_rate.value == point.max_rate.low == 1000
    assert point.max_rate.high == (fails or 1000)
    assert point.max_rate.confidence == (0.98 if fails else 0), "either end may be wrong once in a hundred times"
    lead = "0 µs carries 1000 requests/s with its p99 under the bound" + (", and not 4000" if fails else "")
    undecided = (
        r" \(at 1[0-9]{3} it stayed undecided; longer --seconds may tell\), at 99 % confidence \(one-sided\): "
    )
    assert re.match(re.escape(lead) + undecided, sweep.choice.why)


def test_the_lowest_rate_that_is_shown_to_fail() -> None:
    found = bracket(ONE, {100: ("pass", 1), 200: ("fail", 1), 141: ("undecided", 3)}, 100, "")
    assert (found.low, found.high, found.fails) == (100, 141, 200)
    assert bracket(ONE, {100: ("pass", 1), 200: ("undecided", 3)}, 100, "").fails is None
    assert bracket(ONE, {100: ("pass", 1), 400: ("fail", 1), 200: ("fail", 2)}, 100, "").fails == 200


def test_what_the_sender_cannot_do_ends_the_search() -> None:
    found = bracket(ONE, {100: ("pass", 1), 200: ("invalid", 3)}, 100, "the busiest core was at 90 %")
    assert (found.low, found.high, found.next_rps) == (100, 200, None)
    assert "busiest core" in found.limit


def test_the_highest_rate_of_the_toy_is_bracketed(tmp_path: Path) -> None:
    """Two instances and a p99 under 8 ms: 10,000 requests a second have batches of 32 in 5.2 ms each."""
    sweep = swept(tmp_path, [f"{DELAY}=0,1000"], find_max=True, rate_rps=1000, objective=Objective(p99_ms=8),
                  seconds=3.0)  # fmt: skip
    assert sweep.rate_rps is None
    assert sweep.choice.settings is not None
    best = next(point for point in sweep.points if point.settings == sweep.choice.settings)
    assert best.max_rate is not None
    assert best.max_rate.low == best.max_rate.value == best.rate_rps
    undecided = re.search(r"\(at ([0-9]+) it stayed undecided; longer --seconds may tell\)", sweep.choice.why)
    not_passed = float(undecided[1]) if undecided else best.max_rate.high
    assert best.max_rate.low < not_passed <= best.max_rate.low * PRECISION
    assert not_passed <= best.max_rate.high <= best.max_rate.low * PRECISION**3, "what is shown to fail is near"
    assert 2000 < best.max_rate.value < 12_000
    assert best.judgement.verdict == "pass"
    rates = [point.max_rate.value for point in sweep.points if point.max_rate is not None]
    assert best.max_rate.value == max(rates)
    assert "with its p99 under the bound" in sweep.choice.why


def test_a_limit_of_the_sender_is_told_as_such(tmp_path: Path) -> None:
    sweep = swept(tmp_path, [f"{DELAY}=0,1000"], SimulatedBench(limit_rps=3000), find_max=True, rate_rps=1000,
                  objective=Objective(p99_ms=8), seconds=3.0)  # fmt: skip
    assert sweep.choice.settings is not None
    assert "It may carry more: the busiest second took 90 % of a core." in sweep.choice.why
    assert len(sweep.choice.tied) == 1, "what nobody could measure tells nothing apart"
    assert any("at 4000 requests/s count for nothing" in warning for warning in sweep.warnings)
    assert all(point.max_rate is not None and point.max_rate.value < 3000 for point in sweep.points)
    for point in sweep.points:
        assert point.max_rate is not None
        assert point.max_rate.confidence == 0, "how much more it carries nobody knows"


def test_a_search_has_so_many_rates_and_no_more() -> None:
    passed: dict[float, tuple[Outcome, int]] = {float(2**power): ("pass", 1) for power in range(RATES - 1)}
    assert bracket(ONE, passed, 1, "").next_rps == 2 ** (RATES - 1)
    passed[2.0 ** (RATES - 1)] = ("pass", 1)
    assert bracket(ONE, passed, 1, "").next_rps is None


def test_where_nothing_passes_it_says_so(tmp_path: Path) -> None:
    sweep = swept(tmp_path, [f"{DELAY}=0,1000"], find_max=True, rate_rps=64, objective=Objective(p99_ms=1),
                  seconds=20.0)  # fmt: skip
    assert sweep.choice.settings is None
    assert "No setting is shown to pass at any rate" in sweep.choice.why
    assert all(point.max_rate is None for point in sweep.points)
