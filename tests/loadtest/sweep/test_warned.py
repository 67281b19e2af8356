"""What a sweep warns of: the same thing of many turns once, and turns that something else disturbed."""

from __future__ import annotations

import numpy as np

from loadtest.sweep.evidence import Disturbed, Evidence, Turn
from loadtest.sweep.setting import DELAY, Setting
from loadtest.sweep.warned import once_each, warnings_of

FAST, SLOW = Setting(((DELAY, 0),)), Setting(((DELAY, 1500),))
SLOWER = Setting(((DELAY, 3000),))


def test_sentences_that_differ_in_numbers_alone_are_said_once_with_the_worst() -> None:
    said = [
        "other guests took 2.7 % of its time", "the latencies never came to rest",
        "other guests took 10.6 % of its time", "other guests took 1.8 % of its time",
    ]  # fmt: skip
    assert once_each(said) == [
        "other guests took 10.6 % of its time (the worst of 3 turns)", "the latencies never came to rest",
    ]  # fmt: skip
    assert once_each([]) == []


def test_a_turn_of_its_own_kind_is_told_with_its_round_and_no_other() -> None:
    evidence = Evidence(1)
    for block in range(5):
        for setting, middle_us in ((FAST, 3000.0), (SLOW, 4500.0), (SLOWER, 5000.0)):
            random = np.random.default_rng([block, int(middle_us)])
            latency_us = middle_us * random.lognormal(0, 0.5, 2000) * (15 if (block, setting) == (3, FAST) else 1)
            evidence.add(Turn(setting, (block, 0), np.arange(2000) * 1000, latency_us.astype(np.int64)))
    [turn] = evidence.disturbed()
    assert (turn.setting, turn.round) == (FAST, 3)
    assert 10 < turn.times < 22
    assert 100 < turn.p99_ms < 220


def test_a_disturbed_turn_is_one_sentence() -> None:
    [told] = warnings_of({}, [Disturbed(FAST, 5, 143.76, 16.432)], find_max=False)
    assert told == (
        "a turn of 0 µs had a p99 of 144 ms, 16.4 times what its other turns and its round tell (round 5): it is "
        "left out where settings are compared"
    )
