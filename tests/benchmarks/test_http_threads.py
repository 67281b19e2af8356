"""The page of HTTP threads says what its file has; how threads are counted."""

from __future__ import annotations

import json
import os

import http_threads
from _common import HERE

FOUND = json.loads((HERE / "http_threads.json").read_bytes())


def test_the_table_is_that_of_the_file() -> None:
    page = (HERE / "http_threads.md").read_text(encoding="utf-8").splitlines()
    for row in (http_threads.HEAD, *http_threads.rows(FOUND)):
        assert f"| {' | '.join(row)} |" in page, "run `python benchmarks/http_threads.py`, or put its table again"


def test_every_way_was_measured_and_every_answer_was_one() -> None:
    assert list(FOUND["ways"]) == list(http_threads.WAYS)
    turns = [turn for way in FOUND["ways"].values() for turn in way["turns"]]
    assert len(turns) == http_threads.ROUNDS * len(http_threads.WAYS)
    assert not any(turn["wrong"] for turn in turns)


def test_the_time_of_every_thread_is_told() -> None:
    assert str(os.getpid()) in http_threads.ticks(os.getpid())
