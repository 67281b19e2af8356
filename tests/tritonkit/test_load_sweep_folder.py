"""The folder of a sweep is its own: a second sweep, or a run, that is given it changes nothing there."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_run, make_sweep

import tritonkit.cli
import tritonkit.load_sweep
from generator.problems import Problem, ProblemsError
from generator.project import Project
from loadtest.run.own_folder import own_folder
from loadtest.sweep.journal import Journal
from tritonkit.load_sweep import Options, prepare

CLONE = Path(__file__).parents[2]
SPEC = CLONE / "specs" / "digits.yaml"
UNDER_WAY = "another run or sweep is under way in this folder, and nothing of it was changed"
BEGINS_ONE = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
from generator.project import Project
from tritonkit.load_sweep import Options, prepare
with ExitStack() as held:
    prepare(Options(Path(sys.argv[1]), out=Path(sys.argv[2])), Project(Path(sys.argv[3])), held)
    print("mine", flush=True)
    time.sleep(120)
"""


def all_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(folder: Path, **options: Any) -> Problem:
    """Preparing a sweep there is, and nothing has changed."""
    before = all_of(folder)
    with ExitStack() as held, pytest.raises(ProblemsError) as raised:
        prepare(Options(SPEC, **options), Project(CLONE), held)
    assert all_of(folder) == before
    [problem] = raised.value.problems
    return problem


def test_while_another_process_sweeps(tmp_path: Path) -> None:
    """Neither a sweep, nor one that would go on, nor a run; when it was killed, one goes on."""
    folder = tmp_path / "sweep"
    argv = [sys.executable, "-c", BEGINS_ONE, str(SPEC), str(folder), str(CLONE)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"mine\n"
            for options in ({"out": folder}, {"resume": folder}):
                problem = refused(folder, **options)
                assert (problem.code, problem.message) == ("TK876", UNDER_WAY)
                assert problem.hint == "wait until it has ended, or give another folder with --out"
            with pytest.raises(ProblemsError, match=UNDER_WAY), own_folder(folder):
                pass
            assert (folder / "plan.json").is_file()
        finally:
            process.kill()
    with ExitStack() as held:
        assert prepare(Options(SPEC, resume=folder), Project(CLONE), held).journal.session == 1


def test_one_that_ends_in_vain_forgets_its_own_sweep_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that it made for nothing is gone, and so is its lock."""
    folder = tmp_path / "sweep"
    monkeypatch.chdir(CLONE)
    words = ["load", "sweep", str(SPEC), "--out", str(folder)]

    def sweeps(*_: object) -> None:
        assert tritonkit.cli.main(words) == 1
        assert UNDER_WAY in capsys.readouterr().err
        assert (folder / "plan.json").is_file(), "the second one has not forgotten the first"
        raise KeyboardInterrupt

    monkeypatch.setattr(tritonkit.load_sweep, "run_sweep", sweeps)
    assert tritonkit.cli.main(words) == 130
    assert not folder.exists()


def test_where_a_run_is(tmp_path: Path) -> None:
    make_run(tmp_path / "run", requests=3000)
    problem = refused(tmp_path / "run", out=tmp_path / "run")
    assert (problem.code, problem.message) == (
        "TK876", "a run is in this folder already, and nothing of it was changed"
    )  # fmt: skip


def test_a_run_where_a_sweep_is(tmp_path: Path) -> None:
    make_sweep(tmp_path / "sweep")
    with pytest.raises(ProblemsError, match="a sweep is in this folder already"), own_folder(tmp_path / "sweep"):
        pass


def test_a_second_sweep_is_told_how_the_first_one_goes_on(tmp_path: Path) -> None:
    """`--resume` alone is no option: it takes the folder."""
    Journal.begin(tmp_path, {}, 0)
    with pytest.raises(ProblemsError, match="a sweep is in this folder already") as told:
        Journal.begin(tmp_path, {}, 0)
    assert f"with --resume {tmp_path}, or" in str(told.value.problems[0].hint)


def test_to_go_on_where_nothing_is_makes_nothing(tmp_path: Path) -> None:
    problem = refused(tmp_path, resume=tmp_path / "nothing")
    assert problem.message == "there is no sweep in this folder to go on with"
    assert list(tmp_path.iterdir()) == []
