"""What is wrong with a folder is said in one sentence, with a code, and nothing else happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_run, make_sweep

from generator.problems import ProblemsError
from loadtest.report.codes import CODES
from loadtest.report.opening import OpenedRun, OpenedSweep, open_all


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_run(tmp_path / "run", requests=2000)
    return tmp_path / "run"


def changed(field: str, value: Any) -> Callable[[Path], Path]:
    def change(run: Path) -> Path:
        data = json.loads((run / "run.json").read_text())
        data[field] = value
        (run / "run.json").write_text(json.dumps(data))
        return run

    return change


def written(name: str, data: bytes | None) -> Callable[[Path], Path]:
    def write(run: Path) -> Path:
        (run / name).unlink()
        if data is not None:
            (run / name).write_bytes(data)
        return run

    return write


def empty(run: Path) -> Path:
    (run.parent / "empty").mkdir()
    return run.parent / "empty"


def header_alone(run: Path) -> Path:
    (run / "samples.bin").write_bytes((run / "samples.bin").read_bytes()[:10])
    return run


BAD: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "no folder": (lambda run: run.parent / "absent", "TK890", "no such folder"),
    "a file": (lambda run: run / "samples.bin", "TK890", "a file, and neither run.json nor sweep.json"),
    "an empty folder": (empty, "TK890", "it is empty"),
    "samples alone": (written("run.json", None), "TK890", "ended before it wrote what it was"),
    "another folder": (lambda run: run.parent, "TK890", "neither run.json nor sweep.json"),
    "no JSON": (written("run.json", b"{"), "TK891", "no JSON"),
    "not text": (written("run.json", b"\xff\xfe\x00"), "TK891", "no JSON"),
    "deep JSON": (written("run.json", b"[" * 100_000), "TK891", "no JSON"),
    "a list": (written("run.json", b"[]"), "TK891", "not an object"),
    "a field that is not known": (changed("surprise", 1), "TK891", "surprise"),
    "a wrong type": (changed("wall_s", "long"), "TK891", "wall_s"),
    "infinite": (changed("wall_s", float("inf")), "TK891", "wall_s"),
    "another format": (changed("format", 2), "TK892", "its format is 2; this version reads format 1"),
    "no format": (changed("format", None), "TK892", "its format is null"),
    "no samples": (written("samples.bin", None), "TK893", "not there"),
    "other samples": (written("samples.bin", b"x" * 999), "TK893", "holds no samples"),
    "samples cut in the head": (header_alone, "TK893", "holds no samples"),
    "samples of another run": (changed("requests", 10), "TK893", "of another run"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(run: Path, case: str) -> None:
    make, code, sentence = BAD[case]
    with pytest.raises(ProblemsError) as error:
        open_all([make(run)])
    [problem] = error.value.problems
    assert problem.code == code
    assert code in CODES
    assert sentence in problem.message
    assert "Traceback" not in problem.message


def test_all_that_is_wrong_is_said_at_once(run: Path) -> None:
    with pytest.raises(ProblemsError) as error:
        open_all([run / "x", run, run / "y"])
    assert [problem.place.file for problem in error.value.problems] == [str(run / "x"), str(run / "y")]


def test_samples_that_are_cut_short_are_shown_and_counted(run: Path) -> None:
    data = (run / "samples.bin").read_bytes()
    (run / "samples.bin").write_bytes(data[: -24 * 500 - 7])
    [opened] = open_all([run])
    assert isinstance(opened, OpenedRun)
    assert len(opened.samples) == 1499
    assert opened.missing == 501
    assert opened.cut


def test_a_run_is_named_by_its_folder_or_its_file(run: Path) -> None:
    by_folder, by_file = open_all([run, run / "run.json"])
    assert isinstance(by_folder, OpenedRun)
    assert isinstance(by_file, OpenedRun)
    assert by_folder.run == by_file.run
    assert [by_folder.name, by_file.name] == ["run (1)", "run (2)"]


def test_a_record_that_contradicts_itself_tells_no_percentile(run: Path) -> None:
    data = json.loads((run / "run.json").read_text())
    data["validity"]["valid"] = False
    data["by_pipeline"] = {"digits": data["percentiles"]}
    (run / "run.json").write_text(json.dumps(data))
    [opened] = open_all([run])
    assert isinstance(opened, OpenedRun)
    assert opened.run.percentiles is None
    assert opened.run.by_pipeline == {}
    assert opened.run.judgement.verdict == "invalid"
    assert opened.run.validity.reasons


def test_a_point_that_cannot_be_believed_tells_no_percentile(tmp_path: Path) -> None:
    make_sweep(tmp_path / "sweep", over={"max_queue_delay_us": [0, 500]}, turns=2)
    data = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    data["points"][0]["judgement"]["verdict"] = "invalid"
    data["points"][1]["replicates"][0]["validity"]["valid"] = False
    (tmp_path / "sweep" / "sweep.json").write_text(json.dumps(data))
    [opened] = open_all([tmp_path / "sweep"])
    assert isinstance(opened, OpenedSweep)
    first, second = opened.sweep.points
    assert (first.p50_ms, first.p95_ms, first.p99_ms, first.throughput_rps) == (None, None, None, None)
    assert second.p99_ms is not None
    assert [turn.p99_ms is None for turn in second.replicates] == [True, False]


def test_what_cannot_be_believed_of_a_sweep_tells_nothing(tmp_path: Path) -> None:
    """Whoever wrote the record: neither a percentile nor a count against the bound is told of it."""
    made = make_sweep(tmp_path / "sweep", over={"max_queue_delay_us": [0, 500, 1000]}, turns=2, invalid=(1,))
    data = json.loads(made.model_dump_json())
    wrong = data["points"][1]
    for turn in wrong["replicates"]:
        turn |= {"p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0}
    three = {"value": 3.0, "low": 2.0, "high": 4.0}
    wrong |= dict.fromkeys(("p50_ms", "p95_ms", "p99_ms", "max_rate", "throughput_rps"), three)
    (tmp_path / "sweep" / "sweep.json").write_text(json.dumps(data))
    [opened] = open_all([tmp_path / "sweep"])
    assert isinstance(opened, OpenedSweep)
    point, other = opened.sweep.points[1], opened.sweep.points[0]
    assert wrong["judgement"]["over"] is not None
    told = (point.judgement.over, point.judgement.worth, point.judgement.by_binomial, point.judgement.needed)
    assert told == (None, None, None, None)
    assert (point.p50_ms, point.p95_ms, point.p99_ms, point.max_rate, point.throughput_rps) == (None,) * 5
    assert point.splits == []
    assert {(turn.p50_ms, turn.p95_ms, turn.p99_ms) for turn in point.replicates} == {(None, None, None)}
    assert other.judgement.over is not None
    assert other.splits != []
