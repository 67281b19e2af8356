"""Whether a server keeps up: what a few slow requests at the end say of it, and what a backlog does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loadtest.run.asked import Promise
from loadtest.run.judging import judged, window_of
from loadtest.samples.record import SAMPLE, Outcome

RATE, SECONDS = 300, 30
N = RATE * SECONDS
BEHIND = "The server does not keep up"


def samples(latency_us: Any, rate: int = RATE, seed: int = 1) -> Any:
    """Requests at random times, with these latencies in due order."""
    found = np.zeros(len(latency_us), SAMPLE)
    span_us = len(latency_us) / rate * 1e6
    found["due_us"] = np.sort(np.random.default_rng(seed).uniform(0, span_us, len(latency_us)))
    found["latency_us"] = latency_us
    return found


def usual(count: int = N, mean_us: float = 4000.0) -> Any:
    return np.random.default_rng(2).gamma(4, mean_us / 4, count)


def verdict_of(found: Any, bound_ms: float = 20.0) -> Any:
    return judged(window_of(found, 0), {"p0": Promise(bound_ms)}, 60_000_000, [])


@pytest.mark.parametrize("slow_ms", [5, 950, 20_000])
@pytest.mark.parametrize("count", [1, 5])
def test_a_few_slow_requests_at_the_end_are_no_backlog(count: int, slow_ms: int) -> None:
    latencies = usual()
    latencies[-count:] = slow_ms * 1000
    told = verdict_of(samples(latencies))
    assert told.verdict == "pass", told.why


def test_a_stall_at_the_end_is_no_backlog() -> None:
    """All that is due in the last second is answered at its end: the p99 says so, and nothing is left behind."""
    found = samples(usual())
    last = found["due_us"] > (SECONDS - 1) * 1e6
    found["latency_us"][last] = SECONDS * 1e6 + 10_000 - found["due_us"][last]
    told = verdict_of(found)
    assert told.verdict == "undecided", "one stall does not tell how often it comes"
    assert BEHIND not in told.why
    assert BEHIND not in verdict_of(found, 2000).why


@pytest.mark.parametrize("mean_ms", [40, 400])
def test_a_server_that_takes_long_keeps_up_in_a_short_run(mean_ms: int) -> None:
    latencies = np.random.default_rng(3).exponential(mean_ms * 1000, 1000)
    assert BEHIND not in verdict_of(samples(latencies, rate=200), 5000).why


@pytest.mark.parametrize("carried", [0.95, 0.8, 0.5])
@pytest.mark.parametrize("first_ms", [1, 2000])
def test_a_server_that_does_not_keep_up_fails_though_the_p99_holds(carried: float, first_ms: int) -> None:
    """It answers so many a second and no more. A slow first request, or slow ones at the end, hide nothing."""
    found = samples(usual())
    due = found["due_us"].astype(np.int64)
    every_us = 1e6 / RATE / carried
    ready = np.maximum.accumulate(due - np.arange(N) * every_us) + np.arange(N) * every_us + every_us
    found["latency_us"] = ready - due
    found["latency_us"][0], found["latency_us"][-3:] = first_ms * 1000, 50_000_000
    window = window_of(found, 0)
    assert window.achieved_rps == pytest.approx(RATE * carried, rel=0.01)
    told = verdict_of(found, 59_000)
    assert told.verdict == "fail"
    assert told.why.startswith(BEHIND)


def test_a_server_that_stops_answering_fails() -> None:
    found = samples(usual())
    found["outcome"][found["due_us"] > SECONDS * 0.9e6] = Outcome.TIMEOUT
    window = window_of(found, 0)
    assert window.achieved_rps == pytest.approx(RATE * 0.9, rel=0.01)
    assert judged(window, {"p0": Promise(20, max_error_rate=0.02)}, 60_000_000, []).verdict == "fail"


def test_nothing_was_answered() -> None:
    found = samples(usual())
    found["outcome"] = Outcome.REFUSED
    assert window_of(found, 0).achieved_rps == 0
