"""What is decided before a sweep's server starts, and the choice's way into the spec afterwards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from simulated_bench import SimulatedBench, swept

import tritonkit.cli
import tritonkit.load_sweep
from generator.problems import ProblemsError, UserError
from generator.project import Project
from loadtest.results.sweep import Choice
from loadtest.sweep.setting import DELAY
from tritonkit.load_sweep import DEFAULT_RATE_RPS, Options, Prepared, prepare, put_into_spec

CLONE = Path(__file__).parents[3]
OBJECTIVE = "objective: {p99_ms: 20, throughput_rps: 300, max_error_rate: 0.001}"


def project_with(root: Path, objective: str = OBJECTIVE) -> Path:
    """The digits with another objective: the spec's file."""
    (root / "specs").mkdir(parents=True)
    for folder in ("models", "data"):
        (root / folder).symlink_to(CLONE / folder)
    text = (CLONE / "specs" / "digits.yaml").read_text()
    assert OBJECTIVE in text
    file = root / "specs" / "digits.yaml"
    file.write_text(text.replace(OBJECTIVE, objective))
    return file


def prepared(file: Path, **options: object) -> Prepared:
    return prepare(Options(file, **options), Project(file.parents[1]))  # type: ignore[arg-type]


def test_the_objective_says_the_rate(tmp_path: Path) -> None:
    found = prepared(project_with(tmp_path))
    assert found.wanted.rate_rps == 300
    assert found.wanted.member == "digits_engine"
    assert found.asked.duration_s == 6.0, "five seconds count, and one is to settle"
    assert found.folder.parent == tmp_path / "build" / "load"
    plan = json.loads((found.folder / "plan.json").read_text())
    assert (plan["rate_rps"], plan["seed"], plan["over"]) == (300, 1, {DELAY: {"from": 0, "to": 10_000}})


@pytest.mark.parametrize(
    ("objective", "options", "code"),
    [
        ("description: none", {}, "TK885"),
        ("objective: {p99_ms: 20}", {}, "TK871"),
        (OBJECTIVE, {"rate": float("nan")}, "TK850"),
        (OBJECTIVE, {"over": ("preferred=48",)}, "TK882"),
        (OBJECTIVE, {"member": "nobody"}, "TK884"),
    ],
)
def test_what_is_missing_is_told_and_nothing_is_made(
    tmp_path: Path, objective: str, options: dict[str, object], code: str
) -> None:
    file = project_with(tmp_path, objective)
    with pytest.raises(ProblemsError) as raised:
        prepared(file, **options)
    assert {problem.code for problem in raised.value.problems} == {code}
    assert not (tmp_path / "build").exists()


def test_a_bound_of_the_command_line_is_enough(tmp_path: Path) -> None:
    found = prepared(project_with(tmp_path, "description: none"), p99_ms=30.0, rate=50.0)
    assert found.wanted.objective.p99_ms == 30
    assert found.wanted.rate_rps == 50


def test_a_search_for_the_highest_rate_begins_somewhere(tmp_path: Path) -> None:
    found = prepared(project_with(tmp_path, "objective: {p99_ms: 20}"), find_max=True)
    assert found.wanted.rate_rps == DEFAULT_RATE_RPS
    assert found.wanted.promise.throughput_rps is None


@pytest.mark.parametrize(
    ("what", "differs"),
    [
        ("model", r"`digits_engine/1/model\.onnx` is not what was served .* the models, data or steps of .* changed"),
        ("data", "the data that .* changed since"),
    ],
)
def test_what_is_served_and_sent_has_to_be_the_same(tmp_path: Path, what: str, differs: str) -> None:
    file = project_with(tmp_path)
    folder = prepared(file).folder
    assert prepared(file, resume=folder).journal.session == 1, "nothing has changed so far"
    own = tmp_path / f"{what}s".replace("datas", "data")
    source = own.resolve()
    own.unlink()
    shutil.copytree(source, own)
    if what == "model":
        model = onnx.load(own / "digits.onnx")
        model.doc_string += "trained again"
        onnx.save(model, own / "digits.onnx")
    else:
        with np.load(own / "digits-gate.npz") as kept:
            changed = {name: values[::-1].copy() for name, values in kept.items()}
        np.savez(own / "digits-gate.npz", **changed)
    with pytest.raises(ProblemsError, match=differs) as raised:
        prepared(file, resume=folder)
    assert {problem.code for problem in raised.value.problems} == {"TK887"}


def test_another_spec_is_not_gone_on_with(tmp_path: Path) -> None:
    file = project_with(tmp_path)
    folder = prepared(file).folder
    file.write_text(file.read_text() + "# a comment\n")
    with pytest.raises(ProblemsError) as raised:
        prepared(file, resume=folder)
    [problem] = raised.value.problems
    assert problem.code == "TK887"
    assert problem.message == f"{file} was changed since the sweep here began, or is another spec"
    assert problem.hint == "bring it back to what it was, or begin another sweep in another folder"


def test_the_choice_goes_into_the_spec(tmp_path: Path) -> None:
    file = project_with(tmp_path / "project")
    ready = prepared(file)
    sweep = swept(tmp_path / "sweep", [f"{DELAY}=0,1000,5000"], SimulatedBench())
    assert sweep.choice.settings == {DELAY: 1000}
    assert put_into_spec(ready, sweep)
    assert "batching: {queue: null, max_queue_delay_us: 1000}" in file.read_text()
    nothing = sweep.model_copy(update={"choice": Choice(settings=None, why="")})
    before = file.read_text()
    with pytest.raises(ProblemsError, match="no setting was chosen"):
        put_into_spec(ready, nothing)
    assert file.read_text() == before


def test_the_yaml_of_a_choice_is_what_is_written(tmp_path: Path) -> None:
    from loadtest.sweep.setting import Setting

    found = prepared(project_with(tmp_path))
    assert found.wanted.written(Setting.of({DELAY: 750})) == (
        "targets:\n  embedded:\n    batching: {max_queue_delay_us: 750}\n"
    )


def typed(file: Path, *words: str) -> int:
    return tritonkit.cli.main(["load", "sweep", str(file), *words])


def test_the_command_that_goes_on_does_all_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What comes after the measuring is asked for once, and not again by who finishes the sweep."""
    file = project_with(tmp_path)
    monkeypatch.chdir(tmp_path)

    def stops(prepared: Prepared, *_: object) -> None:
        prepared.journal.seen.append(None)  # type: ignore[arg-type]
        raise UserError("the server ended by signal 9")

    monkeypatch.setattr(tritonkit.load_sweep, "run_sweep", stops)
    assert typed(file, "--write", "--rounds", "4", "--out", "a folder") == 1
    said = capsys.readouterr().err
    assert f"go on with `tritonkit load sweep {file} --rounds 4 --seed 1 --write --resume 'a folder'`" in said


def test_what_ends_before_its_first_turn_leaves_the_folder_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = project_with(tmp_path)
    monkeypatch.chdir(tmp_path)

    def stops(*_: object) -> None:
        raise UserError("there is no room for a server")

    monkeypatch.setattr(tritonkit.load_sweep, "run_sweep", stops)
    for budget in ("300", "600"):
        assert typed(file, "--out", "here", "--budget", budget) == 1
        said = capsys.readouterr().err
        assert "no room" in said
        assert "--resume" not in said
        assert "TK887" not in said
