"""A sweep ends with a setting that is shown to meet the objective, where there is one and the turns allow it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated_bench import SimulatedBench, swept, two_milliseconds, wanted_of

from loadtest.results.run import Objective, Run
from loadtest.sweep.setting import DELAY
from loadtest.sweep.sure import Sure

EASY = Objective(p99_ms=20, throughput_rps=300, max_error_rate=0.001)  # the toy's p99 is under 5 ms
ROUNDS = 2
RANGE = [f"{DELAY}=0:3000"]


class Restless(SimulatedBench):
    """Turns that differ by more than the settings do, as on a shared machine."""

    def _write(self, folder: Path, due: Any, latencies: Any, rate: float, sizes: dict[int, int], why: Any) -> Run:
        luck = np.random.default_rng(len(self.applied)).uniform(1.0, 1.15)
        return super()._write(folder, due, latencies * luck, rate, sizes, why)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_the_last_turn_shows_that_one_of_many_good_settings_passes(seed: int, tmp_path: Path) -> None:
    """Of settings that cannot be told apart none is measured often enough to prove anything of its errors."""
    sweep = swept(tmp_path, RANGE, Restless(), objective=EASY, rate_rps=300.0, rounds=5, seconds=6.0, seed=seed)
    assert sweep.choice.settings is not None, sweep.choice.why
    assert "A turn of its own, of " in sweep.choice.why
    [chosen] = [point for point in sweep.points if point.settings == sweep.choice.settings]
    assert chosen.judgement.verdict == "pass"
    [own] = [one for one in chosen.replicates if one.confirms]
    assert own is chosen.replicates[-1]
    assert own.requests > 5000, "enough to show that no more than one in a thousand fails"
    assert chosen.judgement.requests == own.requests, "what was seen when it was chosen does not count again"
    assert sum(len(point.replicates) for point in sweep.points) <= 41, "and no more turns than without"
    assert not sweep.warnings


class Disappointing(Restless):
    """The first setting that gets a turn of its own is over the bound in it."""

    def _write(self, folder: Path, due: Any, latencies: Any, rate: float, sizes: dict[int, int], why: Any) -> Run:
        own = [setting for setting in self.applied if self.applied.count(setting) > ROUNDS]
        slow = 10 if own and self.applied[-1] == own[0] else 1
        return super()._write(folder, due, latencies * slow, rate, sizes, why)


def test_the_next_best_is_tried_where_the_best_is_shown_to_fail(tmp_path: Path) -> None:
    alike = [f"{DELAY}=1000,1001"]
    sweep = swept(tmp_path, alike, Disappointing(), objective=EASY, rate_rps=300.0, rounds=ROUNDS, seconds=6.0)
    shown = {point.settings[DELAY]: point.judgement.verdict for point in sweep.points}
    assert sorted(shown.values()) == ["fail", "pass"]
    assert all(any(one.confirms for one in point.replicates) for point in sweep.points)
    assert sweep.choice.settings is not None
    assert shown[sweep.choice.settings[DELAY]] == "pass"


def test_what_no_turn_can_show_is_said_before(tmp_path: Path) -> None:
    sweep = swept(tmp_path, [f"{DELAY}=0,2000"], objective=EASY, rate_rps=20.0, rounds=2, seconds=30.0)
    assert sweep.choice.settings is None
    [warning] = sweep.warnings
    assert warning.startswith("no setting can be shown to meet the objective: that takes ")
    assert " minutes at 20 requests/s; give a higher --rate" in warning
    no_rate = EASY.model_copy(update={"throughput_rps": None})
    assert not wanted_of([f"{DELAY}=0,2000"], objective=no_rate, rate_rps=100.0).hopeless


def test_a_promise_without_any_error_is_said_to_be_hopeless() -> None:
    wanted = wanted_of(RANGE, objective=Objective(p99_ms=20, max_error_rate=0.0))
    assert "no number of requests shows that none ever fails" in wanted.hopeless


@pytest.mark.parametrize("settings", [1, 4, 24])
def test_all_that_may_be_wrong_together_is_what_was_asked_for(settings: int) -> None:
    sure = Sure(0.99, settings, 5, min(3, settings))
    looks = sum(1 - sure.at(turn) for turn in range(1, 6))
    assert settings * looks + sure.confirmations * (1 - sure.of_confirmation) == pytest.approx(0.01)


class Unconfirmed(Restless):
    """Whatever gets a turn of its own is over the bound in it."""

    def measure(
        self, rate_rps: float, seconds: float, seed: int, folder: Path, progress: Callable[[str], None]
    ) -> Run:
        self.service_us = (lambda _: 40_000.0) if seconds > 10 else two_milliseconds
        return super().measure(rate_rps, seconds, seed, folder, progress)


@pytest.mark.parametrize(("rate_rps", "rounds"), [(300.0, 5), (300.0, 2), (60.0, 5)])
def test_turns_that_confirm_count_for_as_many_as_they_are_long(rate_rps: float, rounds: int, tmp_path: Path) -> None:
    seconds = 6.0
    objective = EASY.model_copy(update={"throughput_rps": rate_rps})
    wanted = wanted_of(RANGE, objective=objective, rate_rps=rate_rps, rounds=rounds, seconds=seconds)
    sweep = swept(tmp_path, RANGE, Unconfirmed(), objective=objective, rate_rps=rate_rps, rounds=rounds,
                  seconds=seconds)  # fmt: skip
    turns = [turn for point in sweep.points for turn in point.replicates]
    own = [turn for turn in turns if turn.confirms]
    assert own, "such a turn is needed here"
    assert sweep.choice.settings is None
    sent_s = seconds * (len(turns) - len(own)) + wanted.confirming_s * len(own)
    assert sent_s <= 41 / 5 * rounds * seconds, "a fifth of a grid of 41 points, by the time that counts"


def test_one_turn_that_confirms_is_there_even_where_a_fifth_has_no_room_for_it(tmp_path: Path) -> None:
    """With two rounds a fifth of the grid is 16 turns, and one at 100 requests/s is as long as 16 of 6 s."""
    objective = EASY.model_copy(update={"throughput_rps": 100.0})
    sweep = swept(tmp_path, RANGE, Unconfirmed(), objective=objective, rate_rps=100.0, rounds=2, seconds=6.0)
    turns = [turn for point in sweep.points for turn in point.replicates]
    assert sum(turn.confirms for turn in turns) == 1
    assert {turn.round for turn in turns if not turn.confirms} == {1}, "the first round, and nothing beside it"
