"""The benchmark of the sweep's cost: its parts, its page, and that its result says what the page says."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import sweep_cost as script

ROOT = Path(__file__).resolve().parents[2]


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


def test_the_page_and_the_chart_are_of_the_result() -> None:
    result = json.loads((ROOT / "benchmarks" / "sweep_cost.json").read_text())
    page = (ROOT / "benchmarks" / "sweep_cost.md").read_text()
    assert len(result["simulated"]) == len(script.MODELS)
    for one in result["simulated"]:
        told = script.summary(one)
        assert f"| {one['model']['name']} | {one['best_us'] / 1000:.2f} | {told['sweep_near']:.0%} |" in page
        assert len(one["sweep"]) == result["seeds"]
        assert all(run["turns"] <= 0.2 * script.GRID * script.REPLICATES for run in one["sweep"])
    ET.parse(ROOT / "benchmarks" / "sweep_cost.svg")
