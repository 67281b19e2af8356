"""What `load run` prints of a run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from made_runs import make_run

from loadtest.results.run import Run
from tritonkit.cli.load_output import show


def shown(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Its lines."""
    show(run, folder, as_json=False)
    return capsys.readouterr().out.splitlines()


def test_it_says_which_requests_count_and_how_sure_an_interval_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", requests=5000, cancelled=40, failures=3)
    lines = shown(run, tmp_path / "run", capsys)
    assert f"latency of the {run.counted:,} requests that count" in lines
    assert f"Not among them: {run.warm_up.requests:,} of the warm-up, 40 cancelled on purpose." in lines
    rests = "The verdict rests on one end of the p99's interval, which is 99 % sure by itself; both ends together are 98 % sure"
    assert [line for line in lines if line.startswith(rests)]
    [head] = [line for line in lines if line.startswith("latency ") and line.endswith("two-sided")]
    assert head.split() == ["latency", "ms", "interval", "two-sided"]


def test_a_run_of_which_all_counts_says_nothing_of_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", requests=3000, warm_s=0.001)
    assert run.left_out == ""
    assert not [line for line in shown(run, tmp_path / "run", capsys) if line.startswith("Not among them")]


def test_an_invalid_run_has_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(make_run(tmp_path / "late", requests=3000, lag_us=1800.0), tmp_path / "late", capsys)
    assert lines[0] == "INVALID  digits"
    assert not [line for line in lines if line.startswith(("latency", "The verdict rests", "p99"))]


def test_in_a_narrow_terminal_every_model_has_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", requests=5000)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for columns in (30, 40, 60, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in shown(run, tmp_path / "run", capsys)]
        first = next(place for place, line in enumerate(lines) if line.startswith("where a request's time"))
        split = lines[first : lines.index("", first)]
        assert max(map(len, split)) <= columns
        words = " ".join(" ".join(split).split())
        for part in run.splits:
            figures = (f"{part.requests:,}", f"{part.queue_us:,.0f}", f"{part.compute_us:,.0f}")
            told = words[words.index(part.model) + len(part.model) :]
            assert [figure for figure in figures if figure not in told] == []
        assert "outside: server" in words
