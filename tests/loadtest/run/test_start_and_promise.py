"""What must not be hidden by the start of a run, by errors in bursts, or by a rate that was not sent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loadtest.run.asked import Promise
from loadtest.run.judging import Window, judged, window_of
from loadtest.samples.record import SAMPLE, Outcome
from loadtest.truth import warm_up

DEADLINE_US = 1_000_000
N = 10_000
AT = np.arange(N)


def samples(latencies_ms: Any, *, outcome: Any = Outcome.OK, pipeline: Any = 0) -> Any:
    """One request a millisecond, with these latencies."""
    found = np.zeros(len(latencies_ms), SAMPLE)
    found["due_us"] = np.arange(len(latencies_ms)) * 1000
    found["latency_us"] = np.asarray(latencies_ms) * 1000
    found["outcome"], found["pipeline"] = outcome, pipeline
    return found


def usual(count: int = N, seed: int = 1) -> Any:
    """Independent latencies: a p99 of 4.6 ms."""
    return np.random.default_rng(seed).exponential(1.0, count)


def window_with_warm_up(found: Any) -> Window:
    """As a run makes it of its samples."""
    start = warm_up.find(found["due_us"], found["latency_us"], found["outcome"] != Outcome.OK)
    return window_of(found, start.index, start.how if start.too_long else "")


def verdict_of(found: Any, promise: Promise | None = None) -> Any:
    return judged(window_with_warm_up(found), {"p0": promise or Promise(20)}, DEADLINE_US, [])


@pytest.mark.parametrize("share", [0.05, 0.15, 0.4, 0.45])
@pytest.mark.parametrize(
    ("outcome", "latency_ms"), [(Outcome.TIMEOUT, 1000.0), (Outcome.REFUSED, 0.2), (Outcome.BROKEN, 0.1)]
)
def test_a_start_that_fails_never_passes(share: float, outcome: Outcome, latency_ms: float) -> None:
    failed = share * N > AT
    found = samples(np.where(failed, latency_ms, usual()), outcome=np.where(failed, outcome, Outcome.OK))
    told = verdict_of(found, Promise(20, max_error_rate=0.001))
    assert told.verdict != "pass"
    assert told.error_rate.value == pytest.approx(share)
    assert len(window_with_warm_up(found).samples) == N, "from the first failure on everything counts"


@pytest.mark.parametrize("share", [0.02, 0.1, 0.25, 0.45])
def test_a_start_that_stands_still_never_passes(share: float) -> None:
    """All that is due in the stall is answered at its end: none is an error, and the p99 is over its bound with them."""
    stall_ms = share * N
    latencies = np.maximum(stall_ms - AT, 0) + usual()
    told = verdict_of(samples(latencies))
    assert told.verdict == "undecided"
    assert ("only without the warm-up" if share < 0.2 else "the run did not settle") in told.why


def test_a_slow_start_within_the_bound_is_let_go_and_passes() -> None:
    latencies = np.where(AT < 1000, 3, 1) * usual()
    window = window_with_warm_up(samples(latencies))
    assert 950 <= N - len(window.samples) <= 2000
    assert verdict_of(samples(latencies), Promise(60, max_error_rate=0.01)).verdict == "pass"


def test_errors_and_the_throughput_are_of_the_warm_up_too() -> None:
    outcome = np.where(AT < 50, Outcome.BROKEN, Outcome.OK)
    window = window_of(samples(usual(), outcome=outcome), 1000)
    assert len(window.samples) == N - 1000
    told = judged(window, {"p0": Promise(20, max_error_rate=0.001)}, DEADLINE_US, [])
    assert told.error_rate.value == 0.005
    assert told.verdict != "pass"
    assert window.achieved_rps == pytest.approx(995, abs=1)


def test_a_failure_is_over_every_bound_whatever_the_deadline() -> None:
    outcome = np.where(AT % 10 == 0, Outcome.REFUSED, Outcome.OK)
    window = window_of(samples(usual(), outcome=outcome), 0)
    told = judged(window, {"p0": Promise(5000, max_error_rate=0.5)}, DEADLINE_US, [])
    assert (told.verdict, told.over) == ("fail", 1000)


def test_bursts_of_errors_are_not_taken_for_independent_ones() -> None:
    """0.15 % fail, in bursts of 50; 0.1 % may. A run that has seen a burst knows too little of them to pass."""
    generator = np.random.default_rng(5)
    seen, passed = 0, 0
    latencies = usual()
    for _ in range(400):
        failed = np.zeros(N + 50, bool)
        for start in np.flatnonzero(generator.random(N + 50) < 0.0015 / 50):
            failed[start : start + 50] = True
        failed = failed[50:]
        if failed.any():
            told = verdict_of(samples(latencies, outcome=np.where(failed, Outcome.BROKEN, Outcome.OK)))
            seen, passed = seen + 1, passed + (told.verdict == "pass")
    assert seen > 80
    assert passed <= 0.01 * seen + 1


def test_a_lower_rate_than_promised_is_undecided_at_best() -> None:
    window = window_of(samples(usual(20_000)), 0)
    promise = {"p0": Promise(20, throughput_rps=1500)}
    told = judged(window, promise, DEADLINE_US, [], sent_rps={"p0": 1000.0})
    assert told.verdict == "undecided"
    assert "the 1500 requests/s that it promises were not sent, only 1000" in told.why
    assert judged(window, promise, DEADLINE_US, [], sent_rps={"p0": 1500.0}).verdict == "pass"
    slow = {"p0": Promise(2, throughput_rps=1500)}
    assert judged(window, slow, DEADLINE_US, [], sent_rps={"p0": 1000.0}).verdict == "fail"
    assert judged(window, {"p0": Promise(20)}, DEADLINE_US, [], sent_rps={"p0": 1.0}).verdict == "pass"


def test_of_a_mix_each_pipeline_has_to_get_what_it_promises() -> None:
    window = window_of(samples(usual(40_000), pipeline=np.arange(40_000) % 2), 0)
    promises = {"a": Promise(20, throughput_rps=300), "b": Promise(20, throughput_rps=600)}
    assert judged(window, promises, DEADLINE_US, [], sent_rps={"a": 400.0, "b": 600.0}).verdict == "pass"
    told = judged(window, promises, DEADLINE_US, [], sent_rps={"a": 500.0, "b": 500.0})
    assert told.verdict == "undecided"
    assert told.why.startswith("b: Whether the objective holds is not known: the 600 requests/s")


def test_of_an_invalid_run_nothing_is_held_against_the_bound() -> None:
    told = judged(window_of(samples(usual()), 0), {"p0": Promise(20)}, DEADLINE_US, ["requests left late"])
    assert told.verdict == "invalid"
    assert (told.over, told.worth, told.by_binomial, told.needed) == (None, None, None, None)
