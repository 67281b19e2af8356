"""Verdicts are looked at again and again, and settings compete: a sweep as a whole still seldom passes wrongly."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from simulated_bench import SimulatedBench, swept, wanted_of

from loadtest.results.run import Objective, Run
from loadtest.sweep.setting import DELAY
from loadtest.sweep.sure import Sure

BOUND_MS, SWEEPS, ALLOWED = 5.0, 200, 5
FOUR = [f"{DELAY}=0,1000,2000,3000"]


@dataclass
class OnTheEdge(SimulatedBench):
    """Every latency drawn by itself, its true p99 the bound: whatever passes, passes wrongly."""

    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def measure(
        self, rate_rps: float, seconds: float, seed: int, folder: Path, progress: Callable[[str], None]
    ) -> Run:
        count = round(rate_rps * seconds)
        due = np.cumsum(np.random.default_rng(seed).exponential(1e6 / rate_rps, count))
        normal = self.random.normal(size=count) - NormalDist().inv_cdf(0.99)
        latencies = BOUND_MS * 1000 * np.exp(normal / 2)
        return self._write(folder, due, latencies, rate_rps, {1: count}, None)


def passes(folder: Path, trial: int) -> bool:
    """Whether a sweep of settings that are all on the edge chooses one."""
    bench = OnTheEdge(random=np.random.default_rng([trial, 9]))
    sweep = swept(folder, FOUR, bench, rate_rps=500.0, seconds=1.0, rounds=3, seed=trial + 1,
                  objective=Objective(p99_ms=BOUND_MS, max_error_rate=0.5))  # fmt: skip
    shutil.rmtree(folder)
    return sweep.choice.settings is not None


def wrong_passes(folder: Path, enough: int = SWEEPS) -> int:
    """Of SWEEPS, counted no further than `enough`."""
    wrong = 0
    for trial in range(SWEEPS):
        wrong += passes(folder / str(trial), trial)
        if wrong >= enough:
            break
    return wrong


def test_settings_on_the_edge_seldom_pass(tmp_path: Path) -> None:
    """One in a hundred is allowed: 6 or more of 200 would be seen by luck in 2 of 100 such tests."""
    assert wrong_passes(tmp_path) <= ALLOWED


class AsUsual(Sure):
    """Too lax: every look at every setting at 95 %, and nothing shared out."""

    def at(self, turns: int) -> float:
        return 0.95

    @property
    def of_confirmation(self) -> float:
        return 0.95


def test_a_sweep_that_is_too_lax_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above can fail."""
    monkeypatch.setattr("loadtest.sweep.sweep.Sure", AsUsual)
    assert wrong_passes(tmp_path, ALLOWED + 1) > ALLOWED


@pytest.mark.parametrize(("shares", "turns"), [(1, 1), (4, 6), (168, 3)])
def test_all_looks_together_spend_what_is_allowed(shares: int, turns: int) -> None:
    sure = Sure(0.99, shares, turns)
    looks = [1 - sure.at(turn) for turn in range(1, turns + 1)]
    assert looks == sorted(looks)
    assert shares * sum(looks) == pytest.approx(0.01)


def test_what_competes_is_planned_before_the_first_turn() -> None:
    assert wanted_of(FOUR).sure == Sure(0.99, 4, 3, 3)
    assert wanted_of([f"{DELAY}=0:10000"]).sure == Sure(0.99, 24, 3, 3)
    assert wanted_of([f"{DELAY}=0:10000"], budget_s=1e6).sure == Sure(0.99, 24, 3, 3), "and hangs on no budget"
    assert wanted_of(FOUR, find_max=True).sure == Sure(0.99, 4 * 14, 3)
