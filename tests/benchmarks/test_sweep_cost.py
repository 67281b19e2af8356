"""The benchmark of the sweep's cost: its parts, its page, and that its result says what the page says."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import sweep_cost as script

ROOT = Path(__file__).resolve().parents[2]
RESULT = json.loads((ROOT / "benchmarks" / "sweep_cost.json").read_text())


def test_a_sweep_of_the_toy_is_near_the_best_for_a_fifth_of_a_grid() -> None:
    model = script.MODELS[0]
    found = script.by_sweep(model, 3, best_ms=3.75)
    grid = script.GRID * script.REPLICATES
    assert found["turns"] <= 0.2 * grid
    assert found["requests"] <= 0.2 * grid * (script.REQUESTS + script.SETTLE)
    assert 950 <= found["delay_us"] <= 1150
    assert found["taken"] is not None, "its p99 is far under the objective"


def test_the_grid_takes_its_best_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "REPLICATES", 1)
    assert script.by_grid(script.MODELS[0], 1) == 1000


def test_the_true_curve_has_both_ends() -> None:
    delays = script.fine_delays()
    assert (delays[0], delays[-1]) == (0, script.HIGHEST_US)
    assert delays == sorted(set(delays))


def test_the_page_and_the_chart_are_of_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "sweep_cost.md"
    page.write_text((ROOT / "benchmarks" / "sweep_cost.md").read_text())
    monkeypatch.setattr("_common.HERE", tmp_path)
    script.table(RESULT["simulated"])
    assert page.read_text() == (ROOT / "benchmarks" / "sweep_cost.md").read_text()
    assert [one["model"]["name"] for one in RESULT["simulated"]] == [model.name for model in script.MODELS]
    assert all(len(one["sweep"]) == RESULT["seeds"] for one in RESULT["simulated"])
    ET.parse(ROOT / "benchmarks" / "sweep_cost.svg")


def test_the_claim_is_missed_only_where_the_page_says_so() -> None:
    behind, dear = [], []
    for one in RESULT["simulated"]:
        name = one["model"]["name"]
        behind += [name for run in one["sweep"] if run["behind"] > script.NEAR]
        assert all(run["turns"] <= 0.2 * script.GRID * script.REPLICATES for run in one["sweep"])
        dear += [name for run in one["sweep"] if run["requests"] > 0.2 * one["grid_requests"]]
        assert script.summary(one)["cost_median"] <= 0.2
        assert script.summary(one)["cost_most"] < 0.21
    assert behind == ["near its limit"] * 8
    assert dear == ["batches of 8 preferred"]
