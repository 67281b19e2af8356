"""A fail is told where it is one without the sender's lateness, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.run.asked import Promise
from loadtest.run.judging import Window, judged
from loadtest.samples.record import SAMPLE, Outcome
from loadtest.sender.orders import SenderReport
from loadtest.truth.guards import bounds_of, validity
from loadtest.truth.late import lag_around, without_lateness

DEADLINE_US = 1_000_000
REPORT = SenderReport(
    pid=1, started_unix_ns=0, wall_s=10.0, cpu_s=1.0, busiest_core=0.2, gc_pauses=0, gc_longest_us=0,
    clock_resolution_ns=40, connections_opened=4, waited_for_connection=0,
)  # fmt: skip


def sent(
    service_us: Any, stall_ms: float, *, rate: float = 300.0, seconds: float = 60.0, every_s: float = 0.5
) -> Any:
    """Samples of a server that works on one request after the other, asked by a sender that stands still so often."""
    due = np.cumsum(np.random.default_rng(1).exponential(1e6 / rate, int(rate * seconds))).astype(np.int64)
    since = due % int(every_s * 1e6)
    left = due + np.maximum(int(stall_ms * 1000) - since, 0)  # what is due in the first ms of each stretch waits
    done, free = np.empty_like(due), 0
    for index, (came, takes) in enumerate(zip(left.tolist(), np.broadcast_to(service_us, len(due)), strict=True)):
        free = done[index] = max(came, free) + int(takes)
    found = np.zeros(len(due), SAMPLE)
    found["due_us"], found["lag_us"], found["latency_us"] = due, left - due, done - due
    return found


def verdict_of(samples: Any, bound_ms: float, *, errors: float = 0.001) -> Any:
    window = Window(samples, 300.0, 300.0)
    return judged(window, {"p": Promise(bound_ms, max_error_rate=errors)}, DEADLINE_US, [])


def test_a_late_sender_fails_no_server_that_keeps_its_objective() -> None:
    """The p99 of the same requests is under 6 ms when they leave in time, and far over it when they do not."""
    assert verdict_of(sent(500, 0.0), 6.0).verdict == "pass"
    late = sent(500, 12.0)
    assert np.percentile(late["latency_us"], 99) > 8000
    found = verdict_of(late, 6.0)
    assert found.verdict == "undecided"
    assert found.why == (
        "Whether the objective holds is not known: as measured it does not, but requests left up to 12 ms after they "
        "were due, and without that it may. Give a lower --rate, more --senders, or a machine with nothing else to do."
    )


@pytest.mark.parametrize("stall_ms", [0.0, 0.3, 1.0, 12.0])
def test_a_server_that_does_not_keep_it_fails_whoever_was_late(stall_ms: float) -> None:
    assert verdict_of(sent(2500, stall_ms), 6.0).verdict == "fail"


@pytest.mark.parametrize("stall_ms", [0.0, 1.0, 12.0])
def test_a_pass_needs_no_excuse(stall_ms: float) -> None:
    """Lateness only adds."""
    assert verdict_of(sent(500, stall_ms), 30.0).verdict == "pass"


def test_no_server_is_blamed_for_more_than_it_did() -> None:
    """What is left without the lateness is no more than the latency of the same requests that leave in time."""
    on_time, late = sent(1200, 0.0), sent(1200, 7.0)
    assert np.all(without_lateness(late, 20_000, DEADLINE_US)["latency_us"] <= on_time["latency_us"])
    assert np.all(late["latency_us"] >= on_time["latency_us"])


def test_a_timeout_of_what_left_too_late_is_no_error_of_the_server() -> None:
    late = sent(500, 0.0)
    late["lag_us"][::100] = 999_000
    late["outcome"][::100], late["latency_us"][::100] = Outcome.TIMEOUT, 1_000_000
    assert verdict_of(late, 6.0, errors=0.001).verdict == "undecided"
    late["lag_us"] = 0
    assert verdict_of(late, 6.0, errors=0.001).verdict == "fail"
    late["lag_us"], late["outcome"] = 2_000_000, np.where(late["outcome"], Outcome.REFUSED, Outcome.OK)
    assert verdict_of(late, 6.0, errors=0.001).verdict == "fail", "it answered: with an error"


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), min_size=1, max_size=60),
    st.integers(0, 40),
    st.integers(1, 3),
)
def test_the_longest_lag_around(requests: list[tuple[int, int]], within: int, turns: int) -> None:
    one = sorted(requests)
    due, lags = (np.array([request[place] for request in one] * turns) for place in (0, 1))
    size = len(one)
    expected = [
        max(lags[j] for j in range(i - i % size, i + 1) if due[j] >= due[i] - within) for i in range(len(due))
    ]
    if turns > 1 and due[0] == due[size - 1]:  # then nothing tells where a turn ends
        return
    assert lag_around(due, lags, within).tolist() == expected


def test_of_nothing() -> None:
    assert len(lag_around([], [], 5)) == 0


@pytest.mark.parametrize(("bound_ms", "warned"), [(2.0, True), (12.0, False), (20.0, False)])
def test_how_much_of_a_tight_bound_it_is_is_a_warning(bound_ms: float, *, warned: bool) -> None:
    samples = np.zeros(100, SAMPLE)
    samples["lag_us"] = 600
    found = validity(samples, [REPORT], bounds_of(bound_ms))
    assert found.valid
    assert [text.startswith("1 of 100 requests left more than 0.6 ms after") for text in found.warnings] == (
        [True] * warned
    )
    assert not warned or "30 % of the bound on the p99" in found.warnings[0]
