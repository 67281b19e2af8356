"""`tritonkit load report` and `tritonkit load compare` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_runs import make_run, make_sweep

import tritonkit.cli


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_run(Path("a"), seed=1, requests=20_000)
    make_run(Path("b"), seed=2, requests=20_000, service_us=1150.0)
    make_run(Path("late"), seed=2, requests=2000, lag_us=1800.0)
    make_sweep(Path("sweep"), over={"max_queue_delay_us": [0, 500]}, turns=1)
    return tmp_path


def tritonkit_(*arguments: str) -> int:
    return tritonkit.cli.main(["load", *arguments])


def test_the_page_is_written_and_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tritonkit_("report", "a") == 0
    assert capsys.readouterr().out == "a/report.html\n"
    assert Path("a/report.html").read_text().startswith("<!doctype html>")
    assert tritonkit_("report", "a", "late", "sweep", "--out", "new/page.html") == 0
    assert capsys.readouterr().out == "new/page.html\n"
    assert Path("new/page.html").is_file()
    assert tritonkit_("report", "sweep", "a") == 0
    assert capsys.readouterr().out == "report.html\n"


def test_data_and_charts(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tritonkit_("report", "a", "--csv", "csv", "--svg", "svg", "--json") == 0
    seen = capsys.readouterr()
    data = json.loads(seen.out)
    assert data["items"][0]["name"] == "a"
    assert len(list(Path("csv").glob("*.csv"))) == len(data["items"][0]["tables"])
    assert f"{len(list(Path('svg').glob('*.svg')))} files are written to svg" in seen.err
    assert not Path("a/report.html").exists()
    assert tritonkit_("report", "sweep", "--markdown", "--out", "page.html") == 0
    seen = capsys.readouterr()
    assert seen.out.startswith("## ")
    assert "page.html is written" in seen.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report"], "missing argument"),
        (["report", "absent"], "TK890"),
        (["report", "a", "absent"], "TK890"),
        (["report", "a", "--out", "a/run.json"], "ends in none of .html"),
        (["report", "a", "--out", "a"], "is a directory"),
        (["report", "a", "--csv", "a/run.json"], "is a file"),
        (["report", "a", "--json", "--markdown"], "give one of them"),
        (["report", "a", "--out", "/proc/none/page.html"], "cannot be read or written"),
        (["compare", "a"], "missing argument"),
        (["compare", "a", "late"], "TK895"),
        (["compare", "a", "sweep"], "TK896"),
        (["compare", "a", "b", "--threshold", "nan"], "no share"),
        (["compare", "a", "b", "--threshold", "-1%"], "no share"),
        (["compare", "a", "b", "--threshold", "100%"], "no share"),
        (["compare", "a", "b", "--threshold", "much"], "no share"),
    ],
)
def test_mistakes(here: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(here.rglob("*"))
    assert tritonkit_(*arguments) == 1
    seen = capsys.readouterr()
    assert seen.out == ""
    assert words in " ".join(seen.err.lower().split()) or words in seen.err
    assert "Traceback" not in seen.err
    assert sorted(here.rglob("*")) == before


def test_a_regression_ends_with_1(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tritonkit_("compare", "a", "b") == 1
    seen = capsys.readouterr()
    assert seen.out.splitlines()[-1].startswith("worse: p99 +")
    assert seen.err == ""
    assert tritonkit_("compare", "b", "a") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("better: p99 -")
    assert tritonkit_("compare", "a", "b", "--threshold", "0.95", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["verdict"] == "no difference"
    assert data["threshold"] == 0.95


def test_a_comparison_has_80_columns(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Folders are named after pipelines and times: such names stand above the table, and not in its head."""
    long = ("digits+photos-20261122-063956", "digits+photos-20261122-064512")
    for name, kept in zip(("a", "b"), long, strict=True):
        Path(name).rename(kept)
    tritonkit_("compare", *long)
    lines = capsys.readouterr().out.splitlines()
    head, *rows = lines[: lines.index("")]
    assert head.split() == ["A", "B", "change", "at", "99", "%"]
    assert [row.split()[0] for row in rows] == ["p99,", "p50,", "requests/s"]
    assert max(map(len, lines[: lines.index("")])) <= 80
    assert f"A is {long[0]}." in lines
    assert f"B is {long[1]}." in lines
    for kept, name in zip(long, ("a", "b"), strict=True):
        Path(kept).rename(name)
    tritonkit_("compare", "a", "b")
    assert capsys.readouterr().out.splitlines()[0].split()[:2] == ["a", "b"]


def test_at_another_rate_throughput_is_not_compared(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(Path("more"), seed=9, requests=15_000, rate=900.0)
    tritonkit_("compare", "a", "more")
    seen = capsys.readouterr()
    [row] = [line for line in seen.out.splitlines() if line.startswith("requests/s")]
    assert row.endswith("not compared")
    assert seen.out.splitlines()[-1].endswith("; throughput is not compared: other rates were asked for")
    assert "warning: The rate differs: 500 and 900 requests/s." in seen.err
    make_run(Path("photos"), seed=9, requests=3000, mix={"photos": 1.0})
    assert tritonkit_("compare", "a", "photos") == 1
    seen = capsys.readouterr()
    assert (seen.out, "TK898" in seen.err) == ("", True)
