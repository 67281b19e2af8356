"""Whether two load tests differ."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from loadtest.statistics import queues
from loadtest.statistics.compare import Change, change, difference
from loadtest.statistics.judgement import Interval


def test_the_ratio_is_of_b_to_a() -> None:
    run = np.random.default_rng(1).exponential(1000, 20_000)
    other = np.random.default_rng(2).exponential(1500, 20_000)
    found = difference(run, other, 0.99)
    assert 1.3 < found.low < found.value < found.high < 1.7
    assert found.confidence == 0.99
    back = difference(other, run, 0.99)
    assert back.value == pytest.approx(1 / found.value)
    assert (back.low, back.high) == pytest.approx((1 / found.high, 1 / found.low))
    assert change(found) is Change.WORSE
    assert change(back) is Change.BETTER


@pytest.mark.parametrize("queue", [queues.mm1(0.5), queues.autoregressive(0.8)], ids=lambda q: q.name)
def test_runs_of_the_same_thing_are_seldom_told_apart(queue: queues.Queue) -> None:
    generator = np.random.default_rng(3)
    pairs = zip(queue.draw(generator, 300, 5000), queue.draw(generator, 300, 5000), strict=True)
    alarms = [change(difference(a, b, 0.99)) is not Change.SAME for a, b in pairs]
    assert np.mean(alarms) <= 0.01


def test_a_slower_one_is_seen() -> None:
    queue, generator = queues.autoregressive(0.8), np.random.default_rng(4)
    pairs = zip(queue.draw(generator, 50, 10_000), queue.draw(generator, 50, 10_000), strict=True)
    seen = [change(difference(a, b * 1.2, 0.99)) is Change.WORSE for a, b in pairs]
    assert np.mean(seen) >= 0.9


def several(generator: np.random.Generator, runs: int, n: int, spread: float = 0.05) -> list[np.ndarray]:
    """Runs of the same thing, each some 5 % faster or slower as a whole."""
    factors = np.exp(spread * generator.standard_normal(runs))
    drawn = queues.autoregressive(0.8).draw(generator, runs, n)
    return [run * factor for run, factor in zip(drawn, factors, strict=True)]


def told_apart(generator: np.random.Generator, pairs: int, runs: int, n: int) -> float:
    found = [change(difference(several(generator, runs, n), several(generator, runs, n), 0.99)) for _ in range(pairs)]
    return float(np.mean([one is not Change.SAME for one in found]))


def test_runs_that_differ_as_a_whole_need_several_a_side() -> None:
    generator = np.random.default_rng(5)
    assert told_apart(generator, 60, 1, 20_000) > 0.15  # requests alone do not tell how runs differ
    assert told_apart(generator, 300, 4, 4000) <= 0.02  # 1 % is stated; its standard error is 0.6 %


QUIET, LOUD = 0.02, 0.15
PAIRS, TRUE = 200, 1.1


def held(interval_of: Callable[[list[np.ndarray], list[np.ndarray]], Interval]) -> int:
    """How many of PAIRS intervals hold the true ratio, where runs of one side differ by more than those of the other."""
    generator, found = np.random.default_rng(8), 0
    for _ in range(PAIRS):
        a, b = (several(generator, 3, 2000, spread) for spread in (QUIET, LOUD))
        ratio = interval_of(a, [run * TRUE for run in b])
        found += ratio.low <= TRUE <= ratio.high
    return found


def by_requests_alone(a: list[np.ndarray], b: list[np.ndarray]) -> Interval:
    """Too sure: what runs differ by is taken for what their requests differ by."""
    return difference(np.concatenate(a), np.concatenate(b), 0.99)


def by_too_few_degrees(a: list[np.ndarray], b: list[np.ndarray]) -> Interval:
    """Too sure: the normal distribution, where three runs a side need Student's."""
    own = [np.log([np.quantile(run, 0.99) for run in runs]) for runs in (a, b)]
    half = 2.576 * np.sqrt(sum(one.var(ddof=1) / len(one) for one in own))
    middle = own[1].mean() - own[0].mean()
    return Interval(*np.exp([middle, middle - half, middle + half]), 0.99)


ALLOWED = int(binom.ppf(0.999, PAIRS, 0.01))  # misses of intervals that are 99 % sure


def test_intervals_of_three_runs_hold_the_true_ratio() -> None:
    assert PAIRS - held(lambda a, b: difference(a, b, 0.99)) <= ALLOWED


@pytest.mark.parametrize("lax", [by_requests_alone, by_too_few_degrees])
def test_intervals_that_are_too_sure_do_not(lax: Callable[[list[np.ndarray], list[np.ndarray]], Interval]) -> None:
    """The check above can fail."""
    assert PAIRS - held(lax) > ALLOWED


def test_several_runs_are_more_than_one() -> None:
    run = np.random.default_rng(6).exponential(1, 20_000)
    one, two = (
        difference(run[:10_000], run[10_000:], 0.99),
        difference([run[:5000], run[5000:10_000]], [run[10_000:]], 0.99),
    )
    assert two.value == one.value
    assert two.low == pytest.approx(one.low, rel=0.03)
    alike = difference([run] * 3, [run] * 3, 0.99)
    assert (alike.value, alike.low < 1 < alike.high) == (1, True)


@pytest.mark.parametrize(
    ("ratio", "threshold", "expected"),
    [
        ((1.05, 1.2), 0.0, Change.WORSE), ((1.05, 1.2), 0.1, Change.SAME), ((0.99, 1.2), 0.0, Change.SAME),
        ((0.7, 0.8), 0.1, Change.BETTER), ((0.7, 0.95), 0.1, Change.SAME), ((0.7, 0.95), 0.0, Change.BETTER),
    ],
)  # fmt: skip
def test_a_change_is_beyond_its_threshold_surely(
    ratio: tuple[float, float], threshold: float, expected: Change
) -> None:
    assert change(Interval(1.0, *ratio, 0.99), threshold) is expected


def test_short_runs_say_that_they_are_less_sure() -> None:
    assert difference([1, 2, 3], [1, 2, 3], 0.99).confidence < 0.1


@pytest.mark.parametrize(
    ("a", "b", "message"), [([], [1], "no latency"), ([1], [[1], []], "no latency"), ([0], [1], "of 0")]
)
def test_what_cannot_be_compared(a: list[int], b: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        difference(a, b, 0.5)
