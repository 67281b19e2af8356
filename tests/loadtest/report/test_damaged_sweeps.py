"""A sweep.json with figures that no sweep can have is refused where it is read; the largest that may be have a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_sweep

from generator.problems import ProblemsError
from loadtest.report.opening import open_all
from loadtest.report.page import page_of, report_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_sweep(tmp_path / "sweep", over={"max_queue_delay_us": [0, 500]}, turns=1)
    return tmp_path / "sweep"


def put(folder: Path, where: str, value: Any) -> None:
    data = json.loads((folder / "sweep.json").read_text())
    *parents, last = (int(key) if key.isdigit() else key for key in where.split("."))
    inside = data
    for key in parents:
        inside = inside[key]
    inside[last] = value
    (folder / "sweep.json").write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("points.0.mean_batch", -1e300),
        ("points.0.rate_rps", 1e300),
        ("points.0.settings.max_queue_delay_us", 10**400),
        ("points.0.settings.max_queue_delay_us", -1),
        ("points.0.settings", {"preferred": [[8, 1e300]]}),
        ("choice.settings", {"max_queue_delay_us": 10**400}),
        ("over", {"max_queue_delay_us": {"from": 0, "to": 10**400}}),
        ("points.0.replicates.0.round", 10**400),
        ("points.0.replicates.0.p99_ms", -3.0),
        ("points.0.server_epoch", -1),
        ("rate_rps", -500.0),
        ("wall_s", 1e300),
        ("requests", -1),
    ],
)
def test_what_no_sweep_can_have_is_refused(where: str, value: Any, folder: Path) -> None:
    put(folder, where, value)
    with pytest.raises(ProblemsError) as error:
        open_all([folder])
    [problem] = error.value.problems
    assert problem.code == "TK891"
    assert where.split(".", maxsplit=1)[0] in problem.message
    assert len(problem.message) < 300


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("points.0.mean_batch", 1e15),
        ("points.0.settings.max_queue_delay_us", 10**15),
        ("points.0.settings.max_queue_delay_us", True),
        ("points.0.settings", {"preferred": [8, 16], "layout": "fused", "instances": None}),
        ("points.0.rate_rps", 0),
    ],
)
def test_the_largest_and_the_strangest_have_a_page(where: str, value: Any, folder: Path) -> None:
    put(folder, where, value)
    assert "</article>" in page_of(report_of(open_all([folder])))
