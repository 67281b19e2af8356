"""The simulation of what an engine process merges: it comes back to full batches, and the page is that of its file."""

from __future__ import annotations

import json

import merging
import pytest
from _common import HERE


def test_the_table_is_that_of_the_file() -> None:
    found = json.loads((HERE / "merging.json").read_bytes())
    page = (HERE / "merging.md").read_text(encoding="utf-8").splitlines()
    for row in (merging.HEAD, *merging.rows(found["ways"])):
        assert f"| {' | '.join(row)} |" in page, "run `python benchmarks/merging.py`"


@pytest.fixture
def right(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    monkeypatch.setattr(merging, "SECONDS", 0.8)
    return merging.engine_s()


def test_the_engine_takes_what_was_measured(right: dict[int, float]) -> None:
    alone = json.loads((HERE / "gpu_served.json").read_bytes())["engine_alone"]["images"]["items_per_s"]
    assert right[64] == pytest.approx(64 / alone["64"])
    assert right[64] < right[80] < right[96]


def test_with_fixed_times_a_wrong_start_stays_and_with_learning_it_does_not(right: dict[int, float]) -> None:
    wrong = merging.starts(right)["sizes above 32 twice as long"]
    fixed = merging.Simulation(right, wrong, learning=False, seed=1).run(384)
    assert fixed["mean_batch"] < 33
    assert fixed["items_per_s"] == pytest.approx(32 / right[32], rel=0.03)
    learning = merging.Simulation(right, wrong, learning=True, seed=1).run(384)
    assert learning["mean_batch"] > 90
    assert learning["items_per_s"] > 1.2 * fixed["items_per_s"]


def test_every_request_in_flight_is_answered_again_and_again(right: dict[int, float]) -> None:
    found = merging.Simulation(right, right, learning=True, seed=2).run(16)
    assert found["mean_batch"] <= 16
    assert found["items_per_s"] * found["p99_ms"] / 1000 < 2 * 16  # by Little's law, were all as slow as the slowest
