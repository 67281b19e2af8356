"""The verdict on a percentile, alone and at looks that were planned."""

from __future__ import annotations

import numpy as np
import pytest
from growth import grows_linearly

from loadtest.statistics import queues
from loadtest.statistics.binomial import verdict
from loadtest.statistics.judgement import Verdict
from loadtest.statistics.looks import Looks
from loadtest.statistics.objective import judge


def sequence(run: np.ndarray, bound: float, looks: Looks) -> tuple[Verdict, int]:
    """As a run that goes on is judged: the verdict, and after how many requests."""
    for look, at in enumerate(looks.at):
        found = judge(run[:at], bound, confidence=looks.confidence(look))
        if found.verdict is not Verdict.UNDECIDED:
            return found.verdict, at
    return Verdict.UNDECIDED, looks.at[-1]


def test_what_a_judgement_says() -> None:
    run = np.random.default_rng(1).permutation(10_000)
    found = judge(run, 9990)
    assert (found.verdict, found.by_binomial, found.over, found.requests) == (Verdict.PASS, Verdict.PASS, 9, 10_000)
    assert found.needed <= 10_000
    assert found.interval.value == 9899
    assert (found.percentile, found.bound_us) == (0.99, 9990)
    assert judge(run, 9700).verdict is Verdict.FAIL
    assert judge(run, 9890).verdict is Verdict.UNDECIDED


def test_a_latency_equal_to_the_bound_is_within_it() -> None:
    run = [100] * 1000
    assert judge(run, 100).verdict is Verdict.PASS
    assert judge(run, 99.9).verdict is Verdict.FAIL


@pytest.mark.parametrize("n", [1, 10, 100, 458])
def test_few_requests_never_pass(n: int) -> None:
    assert judge(np.ones(n), 2).verdict is Verdict.UNDECIDED


def test_where_requests_come_in_groups_the_binomial_rule_alone_is_too_sure() -> None:
    run = np.repeat(np.random.default_rng(2).permutation(500), 20)
    found = judge(run, 498)
    assert found.by_binomial is Verdict.PASS
    assert found.verdict is Verdict.UNDECIDED
    assert found.worth < 700


def test_independent_requests_are_judged_nearly_by_the_binomial_rule() -> None:
    runs = np.random.default_rng(3).exponential(1, (300, 5000))
    pairs = [
        (judge(run, bound).verdict, verdict(int(np.sum(run > bound)), 5000)) for run in runs for bound in (4.2, 5.2)
    ]
    assert np.mean([ours is rule for ours, rule in pairs]) > 0.9
    assert {(ours, rule) for ours, rule in pairs} <= {
        (ours, rule) for rule in Verdict for ours in (rule, Verdict.UNDECIDED)
    }  # never the opposite, never more sure


def test_no_latency_and_no_percentile() -> None:
    with pytest.raises(ValueError, match="no latency"):
        judge([], 1)
    with pytest.raises(ValueError, match="percentile lies"):
        judge([1], 1, percentile=99)
    with pytest.raises(ValueError, match="confidence lies"):
        judge([1], 1, confidence=99)


def test_other_percentiles() -> None:
    run = np.random.default_rng(4).permutation(10_000)
    assert judge(run, 5500, percentile=0.5).verdict is Verdict.PASS
    assert judge(run, 4500, percentile=0.5).verdict is Verdict.FAIL
    assert judge(run, 9995, percentile=0.999, confidence=0.9).verdict is Verdict.PASS


def test_looks_halve_backwards_from_the_budget() -> None:
    assert Looks.plan(20_000).at == (5000, 10_000, 20_000)
    assert Looks.plan(20_000, 1000).at == (1250, 2500, 5000, 10_000, 20_000)
    assert Looks.plan(20_000, 20_000).at == (20_000,)
    assert Looks.plan(1).at == (1,)


@pytest.mark.parametrize("at", [(1,), (5000, 10_000, 20_000), (1, 2, 3, 4, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_the_looks_together_spend_what_one_may(at: tuple[int, ...], confidence: float) -> None:
    looks = Looks(at)
    spent = [1 - looks.confidence(look, confidence) for look in range(len(looks))]
    assert sum(spent) == pytest.approx(1 - confidence)
    assert min(spent) > 0


@pytest.mark.parametrize("at", [(), (0, 5), (5, 5), (9, 3)])
def test_looks_that_do_not_ascend(at: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ascend"):
        Looks(at)


def test_who_looks_often_at_full_confidence_passes_too_often_and_planned_looks_do_not() -> None:
    """Of independent requests, so that nothing but the looks can be wrong. The bound is the true p99."""
    looks = Looks(tuple(range(1000, 20_001, 1000)))
    runs = np.random.default_rng(5).exponential(1, (1000, 20_000))
    over = np.cumsum(runs > np.log(100), axis=1)[:, [at - 1 for at in looks.at]]
    at = np.asarray(looks.at)

    def passed(confidences: list[float]) -> float:
        found = [
            verdict(int(one[look]), int(at[look]), confidence=sure) is Verdict.PASS
            for one in over for look, sure in enumerate(confidences)
        ]  # fmt: skip
        return float(np.mean(np.reshape(found, over.shape).any(axis=1)))

    assert passed([0.99] * len(looks)) > 0.03
    assert passed([looks.confidence(look) for look in range(len(looks))]) <= 0.01


def test_a_run_that_goes_on_is_decided_and_early_where_it_is_clear() -> None:
    looks, queue = Looks.plan(20_000), queues.autoregressive(0.8)
    assert queue.p99 is not None
    runs = queue.draw(np.random.default_rng(6), 20, 20_000)
    clear = {bound: [sequence(run, queue.p99 * bound, looks) for run in runs] for bound in (2, 0.5)}
    assert {said for said, _ in clear[2]} == {Verdict.PASS}
    assert {said for said, _ in clear[0.5]} == {Verdict.FAIL}
    assert np.median([at for found in clear.values() for _, at in found]) == 5000
    decided = [sequence(run, queue.p99 * 1.1, looks)[0] for run in runs]
    assert decided.count(Verdict.PASS) >= 18


def test_ten_times_as_many_take_ten_times_as_long() -> None:
    run = np.random.default_rng(7).exponential(1000, 4_000_000).astype(np.int64)
    assert grows_linearly(lambda: judge(run[:1_000_000], 4700), lambda: judge(run, 4700))
