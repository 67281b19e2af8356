"""What workers tell: of this run, in whatever order, and how far their clocks are off."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from loadtest.locust_driver.collected import Clock, Collected, clock_of
from loadtest.locust_driver.messages import DONE, FAILED, READY, SAMPLES, TIME


def of(run: str = "this", number: int = 0, **more: Any) -> dict[str, Any]:
    """What a message has."""
    return {"run": run, "number": number, **more}


def test_samples_take_the_place_of_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "worker-1-0.bin").write_bytes(b"of a run before")
    collected = Collected("this", tmp_path, 2)
    for data in (b"first ", b"second"):
        assert collected.take(SAMPLES, of(number=1, sender=0, data=data))
    assert collected.files == {(1, 0): tmp_path / "worker-1-0.bin"}
    assert collected.files[1, 0].read_bytes() == b"first second"


@pytest.mark.parametrize(("kind", "more"), [
    (READY, {}), (SAMPLES, {"sender": 0, "data": b"x"}), (DONE, {"reports": []}),
    (FAILED, {"problems": [["TK879", "worker 0", "it broke", ""]]}), (TIME, {"sent_ns": 1, "unix_ns": 1}),
])  # fmt: skip
def test_what_comes_late_from_another_run_is_let_go(kind: str, more: dict[str, Any], tmp_path: Path) -> None:
    collected = Collected("this", tmp_path, 1)
    assert not collected.take(kind, of("before", **more))
    assert collected.waiting == {0}
    assert (collected.files, collected.reports, collected.failed, collected.clocks) == ({}, {}, {}, {})
    assert list(tmp_path.iterdir()) == []


def test_who_is_waited_for(tmp_path: Path) -> None:
    collected = Collected("this", tmp_path, 3)
    for number in range(3):
        assert collected.take(READY, of(number=number))
    assert collected.waiting == set()
    collected.take(FAILED, of(number=2, problems=[["TK862", "sender", "it died", "look"]]))
    collected.take(DONE, of(number=0, reports=[]))
    collected.wait_again()
    assert collected.waiting == {1}
    assert [(problem.code, problem.message) for problem in collected.failed[2]] == [("TK862", "it died")]
    assert collected.reports == {0: []}


def test_nothing_is_added_after_a_piece_that_is_missing(tmp_path: Path) -> None:
    collected = Collected("this", tmp_path, 1)
    collected.take(SAMPLES, of(sender=0, data=b"whole"))
    collected.take(FAILED, of(problems=[["TK876", "", "the disk is full", ""]]))
    assert collected.take(SAMPLES, of(sender=0, data=b"more"))
    assert collected.files[0, 0].read_bytes() == b"whole"


def test_a_clock_is_known_to_half_of_the_way() -> None:
    assert asdict(clock_of(1000, 1500, 1400)) == {"ahead_ns": 300, "unsure_ns": 200}
    assert asdict(clock_of(1000, 900, 1000)) == {"ahead_ns": -100, "unsure_ns": 0}


@pytest.mark.parametrize(("there_ns", "way_ns", "back_ns", "ahead_ns"), [
    (0, 10, 10, 0), (0, 10, 500, 0), (5_000, 300, 0, 5_000), (-7_000, 0, 300, -7_000),
])  # fmt: skip
def test_the_true_difference_is_within(there_ns: int, way_ns: int, back_ns: int, ahead_ns: int) -> None:
    sent = 1_000_000
    found = clock_of(sent, sent + way_ns + there_ns, sent + way_ns + back_ns)
    assert abs(found.ahead_ns - ahead_ns) <= found.unsure_ns


def test_the_quickest_answer_says_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collected = Collected("this", tmp_path, 1)
    for received, there in ((900, 5000), (300, 5150), (600, 6000)):
        monkeypatch.setattr("time.time_ns", lambda received=received: received)
        collected.take(TIME, of(sent_ns=0, unix_ns=there))
    assert collected.clocks == {0: Clock(5000, 150)}
