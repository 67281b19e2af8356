"""What is said of the objective: p99, errors and throughput together."""

from __future__ import annotations

from typing import Any

import numpy as np

from loadtest.run.asked import Promise
from loadtest.run.judging import Window, judged, percentiles_of, window_of
from loadtest.samples.record import SAMPLE, Outcome

DEADLINE_US = 1_000_000


def samples(latencies_ms: Any, *, every_us: int = 1000, outcome: Any = Outcome.OK, pipeline: Any = 0) -> Any:
    """One request every `every_us`, with these latencies."""
    found = np.zeros(len(latencies_ms), SAMPLE)
    found["due_us"] = np.arange(len(latencies_ms)) * every_us
    found["latency_us"] = np.asarray(latencies_ms) * 1000
    found["outcome"], found["pipeline"] = outcome, pipeline
    return found


def exponential(count: int, mean_ms: float, seed: int = 1) -> Any:
    """Independent latencies; the p99 is 4.6 times the mean."""
    return np.random.default_rng(seed).exponential(mean_ms, count)


def verdict_of(found: Any, *promises: Promise, reasons: tuple[str, ...] = ()) -> Any:
    """Of pipelines p0, p1, ..."""
    named = {f"p{place}": promise for place, promise in enumerate(promises)}
    return judged(window_of(found, 0), named, DEADLINE_US, list(reasons))


def test_pass_fail_and_undecided() -> None:
    found = samples(exponential(20_000, 2.0))  # its p99 is about 9.2 ms
    assert verdict_of(found, Promise(12)).verdict == "pass"
    assert verdict_of(found, Promise(7)).verdict == "fail"
    assert verdict_of(found, Promise(9.2)).verdict == "undecided"
    assert "The p99 is under 12 ms" in verdict_of(found, Promise(12)).why
    assert "The p99 is over 7 ms" in verdict_of(found, Promise(7)).why
    assert verdict_of(found[:100], Promise(100)).verdict == "undecided"
    assert "459 are needed at least" in verdict_of(found[:100], Promise(100)).why


def test_errors_fail_it_although_the_p99_holds() -> None:
    outcome = np.zeros(20_000, np.uint8)
    outcome[::200] = Outcome.REFUSED  # 0.5 %, so not even the p99 knows
    found = samples(exponential(20_000, 1.0), outcome=outcome)
    failed = verdict_of(found, Promise(20, max_error_rate=0.001))
    assert failed.verdict == "fail"
    assert "100 requests failed, 0.5 % of all" in failed.why
    assert "the bound is 0.1 %" in failed.why
    assert failed.error_rate.value == 0.005
    assert verdict_of(found, Promise(20, max_error_rate=0.02)).verdict == "pass"


def test_too_few_requests_to_know_of_errors() -> None:
    found = verdict_of(samples(exponential(2000, 1.0)), Promise(20))
    assert found.verdict == "undecided"
    assert "0 errors do not prove yet that no more than 0.1 % of requests fail" in found.why


def test_errors_count_as_the_deadline() -> None:
    outcome = np.where(np.arange(20_000) % 50 == 0, Outcome.BROKEN, Outcome.OK)
    found = samples(exponential(20_000, 1.0), outcome=outcome)
    assert verdict_of(found, Promise(20, max_error_rate=0.5)).verdict == "fail"
    told = percentiles_of(found, DEADLINE_US)
    assert told is not None
    assert told.p99_ms.value == told.max_ms == 1000


def test_what_was_cancelled_on_purpose_is_neither_late_nor_an_error() -> None:
    outcome = np.where(np.arange(20_000) % 4 == 0, Outcome.CANCELLED, Outcome.OK)
    found = verdict_of(samples(exponential(20_000, 1.0), outcome=outcome), Promise(20))
    assert (found.verdict, found.requests, found.error_rate.value) == ("pass", 15_000, 0)


def test_what_was_never_sent_counts_for_nothing() -> None:
    outcome = np.where(np.arange(20_000) < 10_000, Outcome.OK, Outcome.UNSENT)
    window = window_of(samples(exponential(20_000, 1.0), outcome=outcome), 100)
    assert len(window.samples) == 9900


def test_the_throughput_has_to_hold_too() -> None:
    found = samples([1.0] * 20_000, every_us=1000)
    window = window_of(found, 0)
    assert round(window.offered_rps) == round(window.achieved_rps) == 1000
    slow = judged(Window(found, 1000.0, 900.0), {"p0": Promise(20)}, DEADLINE_US, [])
    assert slow.verdict == "fail"
    assert slow.why == "The server does not keep up: of 1000.0 requests/s that were due, it answered 900.0."
    assert judged(Window(found, 1000.0, 990.0), {"p0": Promise(20)}, DEADLINE_US, []).verdict == "pass"


def test_a_backlog_is_no_throughput() -> None:
    """Each request waits 1 ms longer than the one before: half of what is due is answered in time."""
    window = window_of(samples(np.arange(1000) * 1.0, every_us=1000), 0)
    assert round(window.offered_rps) == 1000
    assert round(window.achieved_rps) == 500


def test_of_several_pipelines_the_worst_counts() -> None:
    pipeline = np.arange(40_000) % 2
    found = samples(np.where(pipeline == 0, exponential(40_000, 1.0), exponential(40_000, 8.0, 2)), pipeline=pipeline)
    both = verdict_of(found, Promise(20), Promise(20))
    assert both.verdict == "fail"
    assert both.why.startswith("p1: The p99 is over 20 ms")
    assert both.requests == 20_000
    assert verdict_of(found, Promise(20), Promise(60)).verdict == "pass"


def test_a_run_that_cannot_be_believed_is_neither() -> None:
    found = verdict_of(samples(exponential(20_000, 1.0)), Promise(20), reasons=("requests left late",))
    assert (found.verdict, found.why) == ("invalid", "This run cannot be believed: requests left late.")


def test_nothing_counts() -> None:
    found = verdict_of(samples([]), Promise(20))
    assert (found.verdict, found.requests) == ("undecided", 0)
    assert percentiles_of(samples([]), DEADLINE_US) is None


def test_a_p999_needs_enough_requests() -> None:
    few, many = percentiles_of(samples([1.0] * 4602), DEADLINE_US), percentiles_of(samples([1.0] * 4603), DEADLINE_US)
    assert few is not None
    assert few.p999_ms is None
    assert many is not None
    assert many.p999_ms is not None
    assert (many.mean_ms, many.max_ms, many.p50_ms.value) == (1.0, 1.0, 1.0)
