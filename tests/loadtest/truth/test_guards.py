"""Whether a run can be believed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from loadtest.samples.record import SAMPLE, Outcome
from loadtest.sender.orders import SenderReport
from loadtest.truth.guards import Bounds, bounds_of, validity
from loadtest.truth.machine_use import MachineTimes, MachineUse, read_times, use_between

FINE = SenderReport(
    pid=1, started_unix_ns=0, wall_s=10.0, cpu_s=1.0, busiest_core=0.2, gc_pauses=0, gc_longest_us=0,
    clock_resolution_ns=40, connections_opened=4, waited_for_connection=0,
)  # fmt: skip


def samples(lags_us: Any, outcome: Outcome = Outcome.OK) -> Any:
    """Requests with these lags."""
    found = np.zeros(len(lags_us), SAMPLE)
    found["lag_us"], found["outcome"], found["latency_us"] = lags_us, outcome, 5000
    return found


def test_the_bound_is_a_millisecond_or_a_share_of_the_objective() -> None:
    assert bounds_of(5).lag_us == bounds_of(20).lag_us == 1000
    assert bounds_of(200).lag_us == 10_000
    assert bounds_of(200, lag_ms=3).lag_us == 3000
    assert bounds_of(20).busiest_core == 0.7


def test_a_run_that_can_be_believed() -> None:
    found = validity(samples([10] * 98 + [40, 90]), [FINE, FINE], Bounds(1000))
    assert (found.valid, found.reasons, found.warnings, found.senders) == (True, [], [], 2)
    assert (found.lag_p50_us, found.lag_p99_us, found.lag_max_us, found.lag_bound_us) == (10, 40, 90, 1000)


def test_late_sends_one_of_a_hundred_is_no_reason_two_are() -> None:
    assert validity(samples([10] * 99 + [5000]), [FINE], Bounds(1000)).valid
    found = validity(samples([10] * 98 + [5000] * 2), [FINE], Bounds(1000))
    assert not found.valid
    [reason] = found.reasons
    assert "1 of 100 more than 5 ms" in reason
    assert "the bound is 1 ms" in reason


def test_what_was_never_sent_has_no_lag() -> None:
    both = np.concatenate([samples([10] * 50), samples([1_000_000] * 50, Outcome.UNSENT)])
    assert validity(both, [FINE], Bounds(1000)).valid


@pytest.mark.parametrize(("changed", "said"), [
    ({"busiest_core": 0.71}, "a sender used 71 % of a core in its busiest second, the bound is 70 %"),
    ({"clock_resolution_ns": 1_000_000}, "the clock moves in steps of 1000 µs"),
    ({"waited_for_connection": 3}, "3 of 100 requests waited for a free connection"),
])  # fmt: skip
def test_each_reason(changed: dict[str, Any], said: str) -> None:
    found = validity(samples([10] * 100), [FINE, replace(FINE, **changed)], Bounds(1000))
    assert not found.valid
    [reason] = found.reasons
    assert said in reason
    assert "give" in reason or "use" in reason, "a reason says what to do"


def waiting(connections: int, senders: int = 1, segments: int = 1) -> Any:
    """1000 requests a second against 20 ms, many of which waited for one of these connections of each sender."""
    found = samples([10] * 1000)
    found["due_us"] = np.arange(1000) * 1000
    report = replace(FINE, waited_for_connection=500, most_in_flight=connections)
    reports = [
        replace(report, started_unix_ns=segment * 20 * 10**9) for segment in range(segments) for _ in range(senders)
    ]
    return validity(found, reports, bounds_of(20))


def test_waiting_for_a_connection_is_the_servers_doing_where_it_had_enough() -> None:
    found = waiting(21)
    assert (found.valid, found.reasons) == (True, [])
    assert "500 of 1,000 requests waited for a connection, because all were busy" in found.warnings[0]
    assert waiting(11, senders=2).valid
    assert waiting(21, segments=2).valid


def test_waiting_for_a_connection_is_ours_where_there_were_too_few() -> None:
    for found in (waiting(20), waiting(10, senders=2), waiting(11, segments=2), waiting(0)):
        assert not found.valid
        assert "requests waited for a free connection; give more --connections" in found.reasons[0]


def test_a_run_without_a_request_cannot_be_believed() -> None:
    assert validity(samples([]), [], Bounds(1000)).reasons == ["nothing was sent"]


def test_what_may_explain_a_run_is_a_warning() -> None:
    machine = MachineUse(busy=0.97, stolen=0.05)
    found = validity(samples([10] * 100), [replace(FINE, gc_longest_us=4000)], Bounds(1000), machine=machine)
    assert found.valid
    collected, busy, stolen = found.warnings
    assert "4 ms" in collected
    assert "97 %" in busy
    assert "5.0 %" in stolen
    assert not validity(samples([10] * 100), [FINE], Bounds(1000), machine=MachineUse(0.5, 0.0)).warnings


def test_how_busy_the_machine_was() -> None:
    assert use_between(MachineTimes(1000, 500, 0), MachineTimes(2000, 750, 100)) == MachineUse(0.75, 0.1)
    now = MachineTimes(1000, 500, 0)
    assert use_between(now, now) is use_between(None, now) is use_between(now, None) is None


def test_this_machine_tells() -> None:
    before = read_times()
    assert before is not None
    sum(range(3_000_000))
    after = read_times()
    assert after is not None
    assert after.whole >= before.whole >= before.idle
