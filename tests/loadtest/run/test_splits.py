"""What the server's statistics say of a run."""

from __future__ import annotations

import numpy as np

from loadtest.layouts.stages import Totals
from loadtest.run.splits import Counted, has_lost_count, outside_us, splits_of, whole_us

BEFORE = {"pipe": Counted(Totals(10, 10, 10, 10_000_000)), "engine": Counted(Totals(10, 10, 5), {1: 3, 4: 2})}
AFTER = {
    "pipe": Counted(Totals(30, 50, 20, 50_000_000)),
    "engine": Counted(Totals(30, 50, 15, 9, 20_000_000, 2_000_000, 10_000_000, 1_000_000), {1: 3, 4: 10, 8: 2}),
}


def test_a_split_is_the_mean_of_the_requests_between_two_readings() -> None:
    [pipe, engine] = splits_of(BEFORE, AFTER, ["pipe", "engine", "another"])
    assert (pipe.model, pipe.requests, pipe.executions, pipe.mean_batch) == ("pipe", 20, 10, 4)
    assert (engine.queue_us, engine.input_us, engine.compute_us, engine.output_us) == (1000, 100, 500, 50)
    assert engine.batch_sizes == {4: 8, 8: 2}


def test_the_time_inside_the_server() -> None:
    assert whole_us(BEFORE, AFTER, ["pipe"]) == 2000
    assert whole_us(AFTER, AFTER, ["pipe"]) is None


def test_a_restart_is_seen_by_counts_that_are_too_small() -> None:
    assert not has_lost_count(BEFORE, AFTER, {"pipe": 20})
    assert not has_lost_count(BEFORE, AFTER, {})
    assert has_lost_count(BEFORE, AFTER, {"pipe": 21})
    assert has_lost_count(AFTER, BEFORE, {"pipe": 0})
    assert has_lost_count(BEFORE, {}, {"pipe": 1})


def test_what_is_outside_is_told_of_the_same_requests_alone() -> None:
    assert outside_us(BEFORE, AFTER, {"pipe": 20}, np.full(20, 2500)) == 500
    assert outside_us(BEFORE, AFTER, {"pipe": 19}, np.full(19, 2500)) is None, "the server counted one more"
    assert outside_us(BEFORE, AFTER, {"pipe": 20}, np.full(20, 1500)) is None, "less than inside is nonsense"
    assert outside_us(AFTER, AFTER, {"pipe": 0}, np.zeros(0)) is None
