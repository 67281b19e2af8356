"""What counts as the latency of a request: errors and timeouts as the deadline at least, none dropped."""

from __future__ import annotations

import numpy as np

from loadtest.samples.record import SAMPLE, Outcome, Samples, counted_us

DEADLINE_US = 1000


def of(*ended: tuple[Outcome, int]) -> Samples:
    found: Samples = np.zeros(len(ended), SAMPLE)
    found["outcome"] = [outcome for outcome, _ in ended]
    found["latency_us"] = [latency_us for _, latency_us in ended]
    return found


def test_an_answer_counts_as_it_was_however_late() -> None:
    assert counted_us(of((Outcome.OK, 7), (Outcome.OK, 2000)), DEADLINE_US).tolist() == [7, 2000]


def test_whatever_failed_counts_as_the_deadline_or_longer() -> None:
    for outcome in (Outcome.REFUSED, Outcome.TIMEOUT, Outcome.BROKEN, Outcome.UNSENT):
        assert counted_us(of((outcome, 7), (Outcome.OK, 9), (outcome, 4_000_000_000)), DEADLINE_US).tolist() == [
            1000, 9, 4_000_000_000,
        ]  # fmt: skip


def test_what_was_cancelled_on_purpose_is_left_out() -> None:
    assert counted_us(of((Outcome.CANCELLED, 7), (Outcome.OK, 9)), DEADLINE_US).tolist() == [9]
    assert counted_us(of(), DEADLINE_US).tolist() == []
