"""Load tests, as they are on disk, as plain numbers for `deploy`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_run, make_sweep

from deploy.operations.measured import Load
from generator.problems import ProblemsError, UserError
from loadtest.results.run import Split
from loadtest.results.sweep import Sweep, read_sweep
from tritonkit.deploy_measured import baseline, measured_of, tuned


def split(
    model: str, requests: int, queue_us: float, mean_batch: float = 1.0, executions: int | None = None
) -> Split:
    return Split(
        model=model, requests=requests, executions=executions or requests, mean_batch=mean_batch, queue_us=queue_us,
        input_us=1, compute_us=100, output_us=1,
    )  # fmt: skip


def test_a_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    [load] = measured_of([tmp_path / "run"]).loads
    assert (load.pipeline, load.rate_rps, load.verdict, load.why) == ("digits", 500, "pass", run.judgement.why)
    assert load.throughput_rps.value == run.achieved_rps
    assert not load.throughput_rps.is_known
    assert load.objective_p99_ms == 8
    assert (load.target, load.spec_sha256) == ("embedded", "4f" * 32)
    assert load.p99_ms is not None
    assert run.percentiles is not None
    assert load.p99_ms.high == run.percentiles.p99_ms.high
    assert load.source == str(tmp_path / "run")


def test_what_waits_is_little_s_law_on_each_model(tmp_path: Path) -> None:
    # The ensemble itself has no queue; a model that each request passes twice is passed at twice the rate.
    splits = [split("digits", 1000, 3.0), split("digits_engine", 1000, 2000.0), split("digits_crops", 2000, 500.0)]
    run = make_run(tmp_path / "run", changes={"splits": splits, "achieved_rps": 400.0})
    [load] = measured_of([tmp_path / "run"]).loads
    assert run.achieved_rps == 400
    assert load.waiting == {"digits_engine": pytest.approx(0.8), "digits_crops": pytest.approx(0.4)}
    assert load.waiting_requests == pytest.approx(1.2)


def test_a_pipeline_of_one_model_waits_in_it(tmp_path: Path) -> None:
    make_run(tmp_path / "run", changes={"splits": [split("digits", 1000, 5000.0)], "achieved_rps": 100.0})
    assert measured_of([tmp_path / "run"]).loads[0].waiting == {"digits": pytest.approx(0.5)}


def test_a_server_that_told_nothing(tmp_path: Path) -> None:
    make_run(tmp_path / "run", changes={"splits": []})
    load = measured_of([tmp_path / "run" / "run.json"]).loads[0]
    assert load.waiting == {}
    assert load.waiting_requests is None
    assert load.items == 1


def test_requests_of_several_items(tmp_path: Path) -> None:
    run = make_run(tmp_path / "some")
    traffic = run.traffic.model_copy(update={"options": {"sizes": [1, 8, 30]}})
    make_run(tmp_path / "run", changes={"traffic": traffic})
    assert tuned([tmp_path / "run"]).items == 13
    # Without the option the server's own count says it: 4,000 items in 1,000 requests.
    make_run(tmp_path / "counted", changes={"splits": [split("digits", 1000, 5.0, mean_batch=8.0, executions=500)]})
    assert tuned([tmp_path / "counted"]).items == 4


def test_a_run_of_several_pipelines_says_nothing_of_one(tmp_path: Path) -> None:
    make_run(tmp_path / "run", mix={"digits": 2.0, "photos": 1.0})
    with pytest.raises(ProblemsError, match="several pipelines at once"):
        measured_of([tmp_path / "run"])


def test_a_sweep_is_the_setting_that_it_chose(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "sweep", find_max=True)
    [load] = measured_of([tmp_path / "sweep"]).loads
    point = next(point for point in sweep.points if point.settings == sweep.choice.settings)
    assert point.max_rate is not None
    assert load.capacity_rps is not None
    assert (load.capacity_rps.low, load.capacity_rps.high) == (point.max_rate.low, point.max_rate.high)
    assert load.carries_rps == load.capacity_rps
    assert load.of == f"{point.settings['max_queue_delay_us']} µs"
    assert (load.member, load.settings) == ("digits_engine", point.settings)
    assert load.verdict == "pass"
    assert load.waiting_requests is not None
    assert load.waiting_requests > 0


def test_without_a_search_it_is_what_was_answered(tmp_path: Path) -> None:
    make_sweep(tmp_path / "sweep")
    load = tuned([tmp_path / "sweep"])
    assert load.capacity_rps is None
    assert load.carries_rps.is_known
    assert load.carries_rps.low < load.carries_rps.value < load.carries_rps.high


def test_the_turns_of_a_sweep_are_more_of_its_curve(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "sweep", find_max=True)
    chosen = next(point for point in sweep.points if point.settings == sweep.choice.settings)
    folders = [replicate.folder for replicate in chosen.replicates]
    for number, folder in enumerate(folders):
        assert folder is not None
        make_run(tmp_path / "sweep" / folder, rate=100.0 * (number + 1), requests=2000)
    point, *turns = measured_of([tmp_path / "sweep"]).loads
    assert point.capacity_rps is not None
    assert [turn.rate_rps for turn in turns] == [100, 200, 300]
    # Each by itself shows too little: what the sweep found is the point's.
    assert {turn.verdict for turn in turns} == {"undecided"}


def test_a_sweep_in_which_nothing_passes_says_why(tmp_path: Path) -> None:
    make_sweep(tmp_path / "sweep", bound_ms=0.5)
    load = tuned([tmp_path / "sweep"])
    assert load.verdict == "fail"
    assert "above the objective" in load.why


def test_the_baseline_of_a_sweep_is_its_first_point(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "sweep")
    load: Load = baseline([tmp_path / "sweep"])
    assert load.of == "0 µs"
    assert sweep.points[0].settings == {"max_queue_delay_us": 0}
    make_run(tmp_path / "run")
    assert baseline([tmp_path / "run"]).pipeline == "digits"


def test_runs_that_pass_and_fail_bracket_what_is_carried(tmp_path: Path) -> None:
    passed = make_run(tmp_path / "passed", rate=400.0)
    failed = make_run(tmp_path / "failed", rate=500.0, bound_ms=1.0)
    objective = {"objective": passed.objective, "judgement": failed.judgement}
    make_run(tmp_path / "fails", rate=500.0, changes=objective)
    load = tuned([tmp_path / "fails", tmp_path / "passed"])
    assert load.verdict == "pass"
    assert load.capacity_rps is not None
    assert (load.capacity_rps.low, load.capacity_rps.high) == (passed.achieved_rps, 500)
    assert load.capacity_rps.confidence == pytest.approx(0.98)
    assert tuned([tmp_path / "passed"]).capacity_rps is None
    assert tuned([tmp_path / "fails"]).verdict == "fail"
    with pytest.raises(UserError, match="different objectives"):
        tuned([tmp_path / "passed", tmp_path / "failed"])


def broken(folder: Path, sweep: Sweep) -> None:
    folder.mkdir()
    (folder / "sweep.json").write_text(sweep.model_copy(update={"points": []}).model_dump_json())


def test_what_cannot_be_used_is_told_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "run.json").write_text("{]")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "sweep.json").write_text('{"format": 9}')
    make_sweep(tmp_path / "sweep")
    broken(tmp_path / "begun", read_sweep(tmp_path / "sweep"))
    (tmp_path / "empty").mkdir()
    names = ("none", "empty", "text", "other", "begun")
    with pytest.raises(ProblemsError) as error:
        measured_of([tmp_path / name for name in names])
    messages = [problem.message for problem in error.value.problems]
    assert {problem.code for problem in error.value.problems} == {"TK429"}
    assert len(messages) == len(names)
    for message, words in zip(
        messages, ("is not there", "is no load test", "cannot be read as a load test", "cannot be read as a sweep",
                   "interrupted before it measured anything"), strict=True,
    ):  # fmt: skip
        assert words in message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("achieved_rps",), 0), (("achieved_rps",), 5e-324), (("traffic", "rate_rps"), 5e-324),
        (("traffic", "options", "sizes"), 8), (("traffic", "options", "sizes"), ["a"]),
        (("traffic", "options", "sizes"), [0]), (("traffic", "options", "sizes"), [True]),
        (("traffic", "options", "sizes"), [[1]]), (("traffic", "options", "sizes"), None),
        (("splits", 0, "queue_us"), 1e12), (("splits", 0, "queue_us"), "long"), (("achieved_rps",), -1),
        (("objective", "throughput_rps"), 5e-324),
    ],
)  # fmt: skip
def test_a_damaged_run_is_refused_with_the_field(tmp_path: Path, path: tuple[str | int, ...], value: Any) -> None:
    make_run(tmp_path / "run", changes={"splits": [split("digits", 1000, 5.0)]})
    damage(tmp_path / "run" / "run.json", path, value)
    with pytest.raises(ProblemsError) as caught:
        measured_of([tmp_path / "run"])
    [problem] = caught.value.problems
    assert problem.code == "TK429"
    assert ".".join(map(str, path)) in problem.message
    assert "measure again" in problem.hint
    assert "validation error" not in problem.message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("throughput_rps", "value"), 0), (("throughput_rps", "value"), 5e-324), (("max_rate", "high"), 0),
        (("splits", 0, "queue_us"), 1e12),
    ],
)  # fmt: skip
def test_a_damaged_sweep_is_refused_with_the_field(tmp_path: Path, path: tuple[str | int, ...], value: Any) -> None:
    sweep = make_sweep(tmp_path / "sweep", find_max=True)
    chosen = next(number for number, point in enumerate(sweep.points) if point.settings == sweep.choice.settings)
    damage(tmp_path / "sweep" / "sweep.json", ("points", chosen, *path), value)
    with pytest.raises(ProblemsError) as caught:
        tuned([tmp_path / "sweep"])
    assert ".".join(map(str, ("points", chosen, *path))) in caught.value.problems[0].message


def damage(file: Path, path: tuple[str | int, ...], value: Any) -> None:
    data = json.loads(file.read_text())
    inside = data
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    file.write_text(json.dumps(data))
