"""What dependent requests are worth."""

from __future__ import annotations

import numpy as np
import pytest
from growth import grows_linearly
from scipy.signal import lfilter

from loadtest.statistics import queues
from loadtest.statistics.dependence import (
    SECTION,
    autocorrelation_time,
    autocovariances,
    raised,
    worth,
    worth_of_events,
)


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.9, 0.98])
def test_the_time_of_an_autoregression_is_known(coefficient: float) -> None:
    """Its autocorrelations are coefficient^lag, so tau = (1 + c) / (1 - c)."""
    noise = np.random.default_rng(1).standard_normal(400_000)
    series = lfilter([1], [1, -coefficient], noise)
    tau, lags = autocorrelation_time(series)
    assert tau == pytest.approx((1 + coefficient) / (1 - coefficient), rel=0.12)
    assert lags >= 5 * tau - 1


@pytest.mark.parametrize("n", [100, 5000, SECTION + 17])
def test_autocovariances_are_the_sums_that_they_stand_for(n: int) -> None:
    series = np.random.default_rng(2).standard_normal(n)
    found, centred = autocovariances(series), series - series.mean()
    slow = [float(np.dot(centred[: n - lag], centred[lag:])) / n for lag in range(5)]
    # Of a longer run only sections are multiplied, and their ends are not.
    assert found[:5] == pytest.approx(slow, abs=1e-5 if n <= SECTION else 0.01)


def test_independent_requests_are_worth_themselves() -> None:
    runs = np.random.default_rng(3).exponential(1, (50, 20_000))
    sizes = [worth(run) for run in runs]
    assert max(sizes) <= 20_000
    assert np.median(sizes) > 0.85 * 20_000


def test_the_same_request_five_times_is_one() -> None:
    run = np.repeat(np.random.default_rng(4).exponential(1, 20_000), 5)
    assert 0.6 * 20_000 < worth(run) < 1.02 * 20_000


def test_a_busier_queue_is_worth_less_and_never_more_than_its_true_worth_on_the_whole() -> None:
    sizes = [
        np.median([worth(run) for run in queues.mm1(load).draw(np.random.default_rng(5), 40, 20_000)])
        for load in (0.1, 0.3, 0.5, 0.7)
    ]
    assert sizes == sorted(sizes, reverse=True)
    # The true ones, by the variance of counts over 2,000 runs: benchmarks/verdicts.json.
    assert np.all(np.array(sizes) < 1.05 * np.array([14_200, 6_300, 2_300, 670]))


def test_few_stretches_raise_more_than_many() -> None:
    stretch = np.repeat([1, 0], [10, 990])
    few, many = np.tile(stretch, 10), np.tile(stretch, 1000)
    assert raised(few) > 1.5 * raised(many)


@pytest.mark.parametrize("run", [[5], [5, 5], [1, 2, 3], [7] * 1000, list(range(1000))])
def test_short_and_constant_runs_are_worth_between_one_and_all(run: list[int]) -> None:
    assert 1 <= worth(run) <= len(run)
    assert 1 <= worth(run, 0.5) <= len(run)


def test_one_sorted_run_is_worth_next_to_nothing() -> None:
    assert worth(np.arange(20_000)) < 20


def test_no_request_is_worth_nothing() -> None:
    with pytest.raises(ValueError, match="no latency"):
        worth([])


def test_ten_times_as_many_take_ten_times_as_long() -> None:
    run = np.random.default_rng(6).exponential(1, 8 * SECTION)
    assert grows_linearly(lambda: worth(run[: 2 * SECTION]), lambda: worth(run))


@pytest.mark.parametrize("share", [0.02, 0.06, 0.2])
def test_a_clump_of_equal_timeouts_is_worth_little(share: float) -> None:
    """All of the slowest 5 % are equal, so none is above any of the levels."""
    run = np.random.default_rng(6).exponential(1000, 10_000)
    run[4000 : 4000 + int(share * 10_000)] = 1e6
    assert worth(run) < 100


def test_the_bound_is_a_level_too() -> None:
    """Slow stretches in the body of the latencies, which no level around the p99 sees."""
    generator = np.random.default_rng(7)
    run = generator.uniform(0, 1, 20_000) + 10 * (np.arange(20_000) // 500 % 2)
    run[generator.random(20_000) < 0.06] = 100
    assert worth(run, bound=5.0) < 0.1 * worth(run)
    assert worth(run, bound=1e9) == worth(run)


def test_events_in_bursts_are_worth_less_than_single_ones() -> None:
    at = np.arange(10_000)
    assert worth_of_events(at % 200 == 0) > 9000
    assert worth_of_events((at > 5000) & (at <= 5050)) < 100
    assert worth_of_events(at < 0) == 10_000
    with pytest.raises(ValueError, match="nothing was observed"):
        worth_of_events(at[:0] > 0)
