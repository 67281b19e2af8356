"""Samples come in any order and are kept in the order in which they were due."""

from __future__ import annotations

import errno
import random

import numpy as np
import pytest

from loadtest.samples.record import SAMPLE, Outcome, Samples
from loadtest.sender.ledger import Ledger


class Kept:
    """What a ledger hands on."""

    def __init__(self) -> None:
        self.parts: list[Samples] = []

    def __call__(self, records: Samples) -> None:
        self.parts.append(records.copy())

    @property
    def samples(self) -> Samples:
        return np.concatenate([np.empty(0, SAMPLE), *self.parts])


def ledger_of(count: int, kept: Kept) -> Ledger:
    due_ns = np.arange(count, dtype=np.int64) * 1_000_500
    pipeline, payload = (np.arange(count) % 3).astype(np.uint8), (np.arange(count) * 7).astype(np.uint32)
    return Ledger(kept, due_ns.data, pipeline.data, payload.data)


def record(ledger: Ledger, index: int, outcome: Outcome = Outcome.OK) -> None:
    due_ns = index * 1_000_500
    ledger.record(index, due_ns + 25_999, due_ns + 3_000_999, outcome, 200)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_comes_out_sorted(seed: int) -> None:
    kept, count, chance = Kept(), 20_000, random.Random(seed)
    ledger = ledger_of(count, kept)
    waiting: list[int] = []
    for index in range(count):
        waiting.append(index)
        while waiting and chance.random() < 0.5:
            record(ledger, waiting.pop(chance.randrange(len(waiting))))
        if chance.random() < 0.01:
            ledger.flush()
    for index in waiting:
        record(ledger, index)
    ledger.flush()
    ledger.finish()
    samples = kept.samples
    assert ledger.done == count
    assert samples["due_us"].tolist() == (np.arange(count) * 1_000_500 // 1000).tolist()
    assert samples["payload"].tolist() == (np.arange(count) * 7).tolist()
    assert samples["pipeline"].tolist() == (np.arange(count) % 3).tolist()
    assert set(samples["lag_us"].tolist()) == {25}
    assert set(samples["latency_us"].tolist()) == {3000}


def test_only_what_is_complete_is_handed_on() -> None:
    kept = Kept()
    ledger = ledger_of(10, kept)
    for index in (0, 1, 3, 4):
        record(ledger, index)
    ledger.flush()
    assert kept.samples["payload"].tolist() == [0, 7]
    ledger.flush()
    assert len(kept.parts) == 1
    record(ledger, 2)
    ledger.flush()
    assert kept.samples["payload"].tolist() == [0, 7, 14, 21, 28]


def test_gaps_stay_gaps_in_the_end() -> None:
    kept = Kept()
    ledger = ledger_of(10_000, kept)
    for index in (0, 2, 9_999):
        record(ledger, index)
    ledger.finish()
    assert kept.samples["payload"].tolist() == [0, 14, 69_993]


def test_words_are_counted_and_bounded() -> None:
    ledger = ledger_of(100, Kept())
    for index in range(60):
        ledger.failed(index, index * 1_000_500, index * 1_000_500, Outcome.REFUSED, f"no {index}\n why")
    for index in range(60, 70):
        ledger.failed(index, index * 1_000_500, index * 1_000_500, Outcome.REFUSED, "no 7 why")
    ledger.failed(70, 70 * 1_000_500, 70 * 1_000_500, Outcome.REFUSED, "x" * 10_000)
    assert len(ledger.errors) == 51
    assert ledger.errors["no 7 why"] == 11
    assert ledger.errors["(other words)"] == 11
    assert max(map(len, ledger.errors)) <= 200


def test_what_cannot_be_kept_is_an_error() -> None:
    def full(_: Samples) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    ledger = Ledger(full, np.zeros(1, np.int64).data, np.zeros(1, np.uint8).data, np.zeros(1, np.uint32).data)
    record(ledger, 0)
    with pytest.raises(OSError, match="No space left"):
        ledger.flush()


def test_what_was_drawn_for_cancelling_is_cancelled_however_it_went() -> None:
    kept, due_ns = Kept(), np.zeros(4, np.int64)
    cancel = np.array([True, False, True, True])
    ledger = Ledger(
        kept, due_ns.data, np.zeros(4, np.uint8).data, np.zeros(4, np.uint32).data,
        cancel=cancel.data, deadline_ns=7_000_000,
    )  # fmt: skip
    ledger.record(0, 0, 1000, Outcome.OK, 200)
    ledger.record(1, 0, 1000, Outcome.OK, 200)
    ledger.failed(2, 0, 1000, Outcome.REFUSED, "no", status=400)
    ledger.failed(3, 0, 1000, Outcome.TIMEOUT, "late")
    ledger.finish()
    assert kept.samples["outcome"].tolist() == [Outcome.CANCELLED, Outcome.OK, *[Outcome.CANCELLED] * 2]
    assert kept.samples["status"].tolist() == [200, 200, 400, 0]
    assert ledger.errors == {}


def test_a_timeout_and_what_was_not_sent_count_as_the_deadline_at_least() -> None:
    kept = Kept()
    due_ns = np.full(3, 1000, np.int64)
    ledger = Ledger(kept, due_ns.data, np.zeros(3, np.uint8).data, np.zeros(3, np.uint32).data, deadline_ns=7_000_000)
    ledger.record(0, 2000, 3000, Outcome.UNSENT, 0)
    ledger.failed(1, 2000, 3000, Outcome.TIMEOUT, "the run ended")
    ledger.failed(2, 2000, 9_001_000, Outcome.TIMEOUT, "late")
    ledger.finish()
    assert kept.samples["latency_us"].tolist() == [7000, 7000, 9000]
