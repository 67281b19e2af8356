"""A sweep's page says of which turns its verdict is, and of a search for the highest rate that rate first."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_runs import make_sweep

from loadtest.report.opening import OpenedSweep, open_one
from loadtest.report.sweep_view import sweep_view
from loadtest.report.view import View
from loadtest.results.run import IntervalRecord
from loadtest.results.sweep import Sweep

OVER = {"max_queue_delay_us": [0, 500]}


def view_of(sweep: Sweep, folder: Path) -> View:
    return sweep_view(OpenedSweep("sweep", folder, sweep), 0, 100)


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    make_sweep(tmp_path / "sweep", over=OVER, turns=3, bound_ms=30.0)
    opened = open_one(tmp_path / "sweep")
    assert isinstance(opened, OpenedSweep)
    assert opened.sweep.choice.settings is not None
    return opened.sweep


def test_turns_that_competed_are_counted_where_they_can_be_believed(sweep: Sweep, tmp_path: Path) -> None:
    assert "requests in 3 turns that are worth" in view_of(sweep, tmp_path).how_sure
    points = []
    for point in sweep.points:
        first = point.replicates[0]
        bad = first.model_copy(update={"validity": first.validity.model_copy(update={"valid": False})})
        points.append(point.model_copy(update={"replicates": [bad, *point.replicates[1:]]}))
    assert "requests in 2 turns that" in view_of(sweep.model_copy(update={"points": points}), tmp_path).how_sure


def test_a_turn_of_its_own_is_what_the_verdict_is_of(sweep: Sweep, tmp_path: Path) -> None:
    points = [
        point.model_copy(
            update={"replicates": [*point.replicates, point.replicates[0].model_copy(update={"confirms": True})]}
        )
        for point in sweep.points
    ]
    how_sure = view_of(sweep.model_copy(update={"points": points}), tmp_path).how_sure
    assert "requests in a turn of its own that are worth" in how_sure
    assert "4 turns" not in how_sure


def test_the_highest_rate_is_in_the_headline(sweep: Sweep, tmp_path: Path) -> None:
    rate = IntervalRecord(value=321.0, low=321.0, high=337.0, confidence=0.98)
    points = [point.model_copy(update={"max_rate": rate, "rate_rps": 321.0}) for point in sweep.points]
    view = view_of(sweep.model_copy(update={"points": points, "find_max": True, "rate_rps": None}), tmp_path)
    assert view.headline.endswith(": 321 requests/s")
    assert "requests at 321 requests/s that are worth" in view.how_sure
    [key] = [key for key in view.keys if key.name == "highest rate"]
    assert key.note == "321 to 337"
