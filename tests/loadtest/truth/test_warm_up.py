"""Where a warm-up ends, in series whose end of it is known."""

from __future__ import annotations

import numpy as np
import pytest
from growth import grows_linearly
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from loadtest.statistics import queues
from loadtest.truth.warm_up import GROUPS, MOST, Found, change_point, find

N = 10_000
AT = np.arange(N)
DUE_US = AT * 2000


def found_in(shape: np.ndarray, runs: int = 30, seed: int = 1) -> list[Found]:
    """What is found in runs of dependent latencies that are `shape` [n] times as slow as usual."""
    drawn = queues.autoregressive(0.8).draw(np.random.default_rng(seed), runs, len(shape))
    return [find(DUE_US[: len(shape)], (run * shape * 1000).astype(np.uint32)) for run in drawn]


@pytest.mark.parametrize(
    ("queue", "most"),
    [
        (queues.independent(), 0.01), (queues.mm1(0.3), 0.02), (queues.mm1(0.5), 0.02), (queues.autoregressive(0.95), 0.02),
        (queues.batches("batches", queues.poisson(3)), 0.02),
    ],
    ids=lambda of: getattr(of, "name", ""),
)  # fmt: skip
def test_none_is_found_where_there_is_none(queue: queues.Queue, most: float) -> None:
    drawn = queue.draw(np.random.default_rng(2), 200, N)
    found = [find(DUE_US, run * 1000) for run in drawn]
    assert np.mean([one.index > 0 for one in found]) <= most
    assert np.mean([not one.settled for one in found]) <= 0.01
    assert {one.how for one in found if not one.index} == {"the latencies start at the level at which they go on"}


@pytest.mark.parametrize("until", [500, 1000, 1500])
@pytest.mark.parametrize("times", [2, 10])
def test_a_step_is_found_where_it_is(until: int, times: float) -> None:
    found = found_in(np.where(until > AT, times, 1))
    kept = [one for one in found if not one.too_long]
    assert len(kept) >= 0.9 * len(found)
    assert all(one.settled for one in kept)
    assert np.median([one.index for one in found]) == pytest.approx(until, abs=20)
    assert all(until - 50 <= one.index <= MOST * N for one in found)
    assert "slower" in kept[0].how


@pytest.mark.parametrize("until", [2500, 4500])
@pytest.mark.parametrize("times", [2, 10])
def test_of_a_long_step_a_fifth_is_let_go_and_it_did_not_settle(until: int, times: float) -> None:
    found = found_in(np.where(until > AT, times, 1))
    assert {(one.index, one.settled, one.too_long) for one in found} == {(N // 5, False, True)}
    assert "the run did not settle" in found[0].how
    assert found[0].how.endswith("slower than what follows, and no more than 20 % of a run may be warm-up")


@pytest.mark.parametrize("until", [500, 1000, 2500, 4500])
def test_a_faster_start_is_no_warm_up(until: int) -> None:
    assert {one.index for one in found_in(np.where(until > AT, 0.5, 1))} == {0}


@pytest.mark.parametrize("first", [0, 1, 300, 999])
def test_the_warm_up_ends_before_the_first_failure(first: int) -> None:
    latencies = np.where(AT < 1000, 5000, 1000) + AT % 7
    failed = first == AT
    assert find(DUE_US, latencies).index == 1000
    found = find(DUE_US, latencies, failed)
    assert (found.index, found.too_long) == (first, False)
    assert find(DUE_US, latencies, AT > 5000).index == 1000


def test_two_steps_are_found_whole() -> None:
    found = found_in(np.where(AT < 600, 5, np.where(AT < 1500, 2, 1)))
    assert np.median([one.index for one in found]) == pytest.approx(1500, abs=20)
    assert np.mean([one.settled for one in found]) >= 0.9


def test_of_what_fades_no_more_stays_than_cannot_be_seen() -> None:
    shape = 1 + 3 * np.exp(-AT / 300)
    found = found_in(shape)
    left = [shape[one.index] for one in found]
    assert np.median(left) < 1.3
    assert max(left) < 1.5
    assert max(one.index for one in found) <= N // 5
    assert all(one.settled for one in found)


@pytest.mark.parametrize("slow", [1, 3, 10])
def test_a_few_requests_that_wait_for_a_model_to_load(slow: int) -> None:
    found = found_in(np.where(slow > AT, 500, 1))
    assert {one.index for one in found} == {slow}
    assert found[0].how == f"the first {slow} requests ({slow * 0.002:.3g} s) were slower than what follows"


def test_an_outage_in_the_middle_is_no_warm_up() -> None:
    found = found_in(np.where((AT > 3000) & (AT < 3500), 100, 1))
    assert {one.index for one in found} == {0}
    late = found_in(np.where((AT > 8000) & (AT < 8500), 100, 1))
    assert {one.index for one in late} == {0}


@pytest.mark.parametrize(
    "shape", [1 + AT / N, np.where(AT < 7000, 1, 2), 4 - 3 * AT / N], ids=["drift", "step", "faster"]
)
def test_a_run_that_never_settles_is_said_to(shape: np.ndarray) -> None:
    found = found_in(shape)
    assert np.mean([one.settled for one in found]) <= 0.05
    assert "settle" in found[0].how
    assert max(one.index for one in found) <= N // 5


@given(arrays.arrays(np.uint32, st.integers(0, 600), elements=st.integers(0, 2**32 - 1)))
def test_never_more_than_a_fifth(latencies: np.ndarray) -> None:
    found = find(np.arange(len(latencies)) * 1000, latencies)
    assert 0 <= found.index <= len(latencies) / 5
    assert found == find(np.arange(len(latencies)) * 1000, latencies)


@pytest.mark.parametrize("latencies", [[], [5], [9, 1, 1], [7] * 1000, [1000] * 39])
def test_nothing_is_found_in_nothing(latencies: list[int]) -> None:
    found = find(list(range(len(latencies))), latencies)
    assert (found.index, found.settled) == (0, True)


def test_the_change_point_of_a_step() -> None:
    means = np.repeat([3.0, 1.0], [17, 83])
    assert change_point(means, 50) == 17
    assert change_point(means, 10) == 10
    assert change_point(means, 0) == 0
    assert change_point(means[:1], 5) == 0


def test_of_a_long_run_the_warm_up_is_found_by_groups() -> None:
    latencies = np.random.default_rng(3).exponential(1000, 1_000_000)
    latencies[:100_000] *= 2
    found = find(np.arange(len(latencies)), latencies)
    assert found.index == pytest.approx(100_000, abs=5 * len(latencies) // GROUPS)


def test_ten_times_as_many_take_ten_times_as_long() -> None:
    latencies = np.random.default_rng(4).exponential(1000, 4_000_000)
    due_us = np.arange(len(latencies))
    assert grows_linearly(lambda: find(due_us[:1_000_000], latencies[:1_000_000]), lambda: find(due_us, latencies))
