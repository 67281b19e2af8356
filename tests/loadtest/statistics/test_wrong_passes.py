"""How often a run passes whose p99 is exactly the bound: one in a hundred; and a judge that is laxer is caught."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from loadtest.statistics import binomial, queues
from loadtest.statistics.judgement import Verdict
from loadtest.statistics.looks import Looks
from loadtest.statistics.objective import judge

Judge = Callable[[np.ndarray, float, Looks, int], Verdict]
"""Of the requests so far and the bound, at one of the planned looks."""

CONFIDENCE, RUNS, BUDGET = 0.99, 400, 5000
SUSPICIOUS = int(binom.ppf(0.9999, RUNS, 1 - CONFIDENCE))
"""More wrong passes have a judge who is wrong once in a hundred in one of 10,000 such tests."""
NEARLY = 0.008
"""With more over the bound no judge is asked: who passes such a run passes those with fewer, which are plenty."""
OFTEN = Looks(tuple(range(500, BUDGET + 1, 500)))
QUEUES = {
    "independent": queues.independent(),
    "autoregressive": queues.autoregressive(0.8),
    "busy": queues.mm1(0.5),
}


def as_load_run(latencies: np.ndarray, bound: float, looks: Looks, look: int) -> Verdict:
    return judge(latencies, bound, confidence=looks.confidence(look, CONFIDENCE)).verdict


def as_if_independent(latencies: np.ndarray, bound: float, looks: Looks, look: int) -> Verdict:
    """Too lax: order statistics of all requests, as if neighbours had nothing to do with each other."""
    over = int(np.count_nonzero(latencies > bound))
    return binomial.verdict(over, len(latencies), confidence=looks.confidence(look, CONFIDENCE))


def as_if_looked_at_once(latencies: np.ndarray, bound: float, looks: Looks, look: int) -> Verdict:
    """Too lax: every look at full confidence, however many there are."""
    return judge(latencies, bound, confidence=CONFIDENCE).verdict


def by_the_value(latencies: np.ndarray, bound: float, looks: Looks, look: int) -> Verdict:
    """Too lax: the p99 that was seen, without any interval."""
    return Verdict.PASS if np.quantile(latencies, 0.99) <= bound else Verdict.UNDECIDED


def wrong_passes(judge_: Judge, queue: queues.Queue) -> int:
    """Of RUNS whose true p99 is the bound, as many as pass at any look."""
    assert queue.p99 is not None
    generator, wrong = np.random.default_rng(11), 0
    for run in queue.draw(generator, RUNS, BUDGET):
        over = np.cumsum(run > queue.p99)
        for look, at in enumerate(OFTEN.at):
            if over[at - 1] > NEARLY * at:
                continue
            verdict = judge_(run[:at], queue.p99, OFTEN, look)
            wrong += verdict is Verdict.PASS
            if verdict is not Verdict.UNDECIDED:
                break
    return wrong


@pytest.mark.parametrize("name", QUEUES)
def test_one_pass_in_a_hundred_is_wrong(name: str) -> None:
    assert wrong_passes(as_load_run, QUEUES[name]) <= SUSPICIOUS


@pytest.mark.parametrize(
    ("lax", "name"),
    [
        (as_if_independent, "autoregressive"), (as_if_independent, "busy"), (as_if_looked_at_once, "independent"),
        (by_the_value, "independent"),
    ],
)  # fmt: skip
def test_a_judge_that_is_too_lax_is_caught(lax: Judge, name: str) -> None:
    """The check above can fail: each of these would pass what it should not, and is seen to."""
    assert wrong_passes(lax, QUEUES[name]) > SUSPICIOUS
