"""The claims of benchmarks/verdicts.py on fewer runs, and that its page says what its file has."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from _verdict_draw import draw
from _verdict_runs import BOUNDS, EXACT, HIGHER, LOWER, cases, decided, ideal, verdicts
from _verdict_tables import put_tables, tables
from verdicts import jobs, measure

from loadtest.statistics.judgement import Verdict
from loadtest.statistics.looks import Looks
from loadtest.statistics.objective import decide

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RESULT = json.loads((BENCHMARKS / "verdicts.json").read_text())
LOOKS = Looks.plan(20_000)
REFERENCE = (200, 20_000)


def shares(found: dict, place: int) -> tuple[float, float]:
    point = found["bounds"][place]
    return sum(point["pass_at"]) / found["runs"], sum(point["fail_at"]) / found["runs"]


@pytest.mark.parametrize("name", ["M/M/1, load 0.5", "autoregressive, 0.8", "batches, small bursts"])
def test_passes_that_are_wrong_are_few_in_dependent_requests_looked_at_three_times(name: str) -> None:
    found = verdicts(cases()[name], LOOKS, 600, REFERENCE)
    assert shares(found, EXACT)[0] <= 0.01 + 2 * 0.004  # 0.004 is the standard error of 1 % in 600 runs
    # That this can fail: the binomial rule alone, which takes requests for independent ones, does.
    assert found["binomial_alone_false_pass"] > 0.08


@pytest.mark.parametrize(
    "name", ["M/M/1, load 0.1", "M/D/1, load 0.2", "autoregressive, 0.8", "batches, small bursts"]
)
def test_ten_percent_to_either_side_are_decided_rightly(name: str) -> None:
    found = verdicts(cases()[name], LOOKS, 200, REFERENCE)
    assert found["moderate"]
    assert shares(found, LOWER)[0] >= 0.95 - 0.015  # of passes; 0.015 is the standard error of 95 % in 200 runs
    assert shares(found, HIGHER)[1] >= 0.95 - 0.015
    assert shares(found, LOWER)[1] == shares(found, HIGHER)[0] == 0
    assert found["bounds"][0]["median_requests"] == 5000  # clear cases end at the first look


def test_many_bounds_at_once_are_judged_as_one_is() -> None:
    generator = np.random.default_rng(1)
    words = {1: Verdict.PASS, -1: Verdict.FAIL, 0: Verdict.UNDECIDED}
    for at, size in ((500, 500.0), (5000, 1234.5), (20_000, 19_000.0), (20_000, 40.0)):
        over = generator.integers(0, at // 30, 200)
        found = decided(over, at, size, 0.995)
        assert [words[int(one)] for one in found] == [decide(int(one), at, size, 0.99, 0.995) for one in over]


def test_what_an_ideal_test_needs() -> None:
    assert ideal(0.01**1.1, 0.01 ** (1 / 1.1)) == pytest.approx(9700, rel=0.02)


def test_the_file_keeps_its_claims() -> None:
    for found in RESULT["queues"]:
        passed, _ = shares(found, EXACT)
        assert found["runs"] >= 2000
        if not found["name"].startswith("a stall"):
            assert passed <= 0.01, found["name"]
        if found["moderate"]:
            assert shares(found, LOWER)[0] >= 0.95, found["name"]
            assert shares(found, HIGHER)[1] >= 0.95, found["name"]
    assert sum(found["moderate"] for found in RESULT["queues"]) >= 5
    for one in RESULT["comparisons"]:
        if one["runs_a_side"] > 1 or not one["noise"]:
            assert one["false_alarms"] <= 0.01 + 2 * 0.0045, one  # the standard error of 1 % in 500 pairs


def test_the_page_says_what_the_file_has(tmp_path: Path) -> None:
    page = tmp_path / "verdicts.md"
    page.write_text((BENCHMARKS / "verdicts.md").read_text())
    put_tables(page, RESULT)
    assert page.read_text() == (BENCHMARKS / "verdicts.md").read_text()


def test_one_short_run_of_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verdicts.BUDGET", 400)
    monkeypatch.setattr("verdicts.LONG", 800)
    monkeypatch.setattr("verdicts.REFERENCE", (2, 400))
    few = {name: cases()[name] for name in ("M/M/1, load 0.1", "autoregressive, 0.8")}
    monkeypatch.setattr("verdicts.cases", lambda: few)
    for name in ("LONGER", "COMPARED", "COVERED"):
        monkeypatch.setattr(f"verdicts.{name}", ("M/M/1, load 0.1",))
    found = measure(8, 1)
    assert len(jobs(8)) == 6
    assert [len(point["pass_at"]) for point in found["queues"][0]["bounds"]] == [3] * len(BOUNDS)
    assert all(len(row) == len(head) for head, rows in tables(found).values() for row in rows)
    draw(found).savefig(tmp_path / "chart.svg")
    assert ET.parse(tmp_path / "chart.svg").getroot().tag.endswith("svg")
