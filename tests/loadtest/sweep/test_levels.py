"""The fit of settings' levels: right where it can be worked out by hand, and not led astray by a few turns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loadtest.sweep.levels import fit


def logs(values: list[float]) -> Any:
    return np.array(values)


def test_levels_of_a_whole_table_are_the_means_without_their_rounds() -> None:
    """Two settings in three rounds, all of it exact: 1.0 and 1.5, rounds of -0.2, 0 and 0.2."""
    single = [level + share for share in (-0.2, 0.0, 0.2) for level in (1.0, 1.5)]
    told = fit(logs(single), [0, 1] * 3, [0, 0, 1, 1, 2, 2])
    assert told.levels == pytest.approx([1.0, 1.5], abs=1e-4)
    assert np.abs(told.left).max() < 0.01
    assert told.by_turns is None  # two degrees of freedom are left over


def test_a_setting_that_ran_in_loud_rounds_alone_is_not_slow() -> None:
    single = [1.0, 1.5, 1.0, 1.5, 3.0, 3.2]  # the third round is 2 louder; setting 2 ran there alone
    told = fit(logs(single), [0, 1, 0, 1, 0, 2], [0, 0, 1, 1, 2, 2])
    assert told.levels[2] - told.levels[0] == pytest.approx(0.2, abs=1e-3)


def test_settings_that_share_no_round_are_taken_as_they_are() -> None:
    told = fit(logs([1.0, 1.1, 5.0, 5.1]), [0, 1, 2, 3], [0, 0, 1, 1])
    assert told.levels == pytest.approx([1.0, 1.1, 5.0, 5.1], abs=1e-4)


def test_a_wild_turn_moves_its_setting_little_and_is_told() -> None:
    """Of six turns of each of three settings one is e^3 times as slow."""
    random = np.random.default_rng(5)
    rounds = np.repeat(np.arange(6), 3)
    settings = np.tile([0, 1, 2], 6)
    plain = np.array([1.0, 1.3, 1.6])[settings] + random.normal(0, 0.05, 18)
    wild = plain.copy()
    wild[3] += 3.0  # setting 0 in round 1
    quiet, loud = (fit(logs(list(values)), list(settings), list(rounds)) for values in (plain, wild))
    moved = loud.levels - quiet.levels
    assert np.abs(moved - moved.mean()).max() < 0.06  # a sixth of 3 would be 0.5
    assert [turn for turn in range(18) if loud.is_far(turn)] == [3]
    assert not any(quiet.is_far(turn) for turn in range(18))
    assert loud.times(3) == pytest.approx(np.exp(3), rel=0.2)
    rest = [turn for turn in range(18) if turn != 3]
    without = fit(logs([wild[turn] for turn in rest]), settings[rest], rounds[rest])
    assert quiet.by_turns is not None
    assert without.by_turns is not None
    assert (without.by_turns < 2 * quiet.by_turns).all()


def test_the_variance_by_turns_is_that_of_the_levels() -> None:
    """Over 400 draws the spread of the levels is what each draw says of it."""
    random = np.random.default_rng(7)
    settings, rounds = [0, 1, 2] * 4, sorted([0, 1, 2, 3] * 3)
    levels, said = [], []
    for _ in range(400):
        told = fit(logs(list(random.normal(0, 0.2, 12))), settings, rounds)
        assert told.by_turns is not None
        levels.append(told.levels - told.levels.mean())
        said.append(told.by_turns)
    seen = np.var(levels, axis=0)
    assert np.mean(said, axis=0) == pytest.approx(seen, rel=0.25)


@pytest.mark.parametrize(("once", "often", "rounds"), [(4, 4, 5), (12, 3, 4), (60, 4, 5)])
def test_settings_that_were_measured_once_make_the_others_no_surer(once: int, often: int, rounds: int) -> None:
    """A single turn lies where it is expected by itself. Of equals, few are further apart than 2.58 deviations."""
    random = np.random.default_rng(1)
    settings = [*range(once), *(once + setting for setting in range(often) for _ in range(rounds))]
    of_round = [*[0] * once, *(number for _ in range(often) for number in range(rounds))]
    wrong, trials = 0, 200
    for _ in range(trials):
        told = fit(random.normal(0, 0.2, len(settings)), settings, of_round)
        assert told.by_turns is not None
        apart = told.levels[once] - told.levels[once + 1]
        wrong += abs(apart) > 2.576 * np.sqrt(told.by_turns[once] + told.by_turns[once + 1])
        assert not any(told.is_far(turn) for turn in range(once))
    assert wrong <= 0.06 * trials
