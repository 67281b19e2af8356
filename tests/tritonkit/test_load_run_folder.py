"""`load run --out` over a folder that holds a run, what is left of one, or one under way: nothing of it is touched."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_runs import make_run

from generator.problems import ProblemsError
from loadtest.run.own_folder import own_folder
from tritonkit.cli.load_output import show
from tritonkit.load_run import run

HOLDS_IT = """
import sys, time
from pathlib import Path
from loadtest.run.own_folder import own_folder
with own_folder(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(60)
"""


def refused(folder: Path) -> None:
    """Nothing is served for it: what was prepared is not even looked at."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    prepared: Any = SimpleNamespace(folder=folder)
    wanted: Any = None
    with pytest.raises(ProblemsError, match="a run is in this folder already") as raised:
        run(wanted, prepared, {}, lambda _: None, lambda _: None)
    [problem] = raised.value.problems
    assert (problem.code, problem.hint) == ("TK876", "give another folder with --out, or take this one away")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_whole_run(tmp_path: Path) -> None:
    make_run(tmp_path / "run", requests=3000)
    refused(tmp_path / "run")


@pytest.mark.parametrize("left", ["samples.bin", "segment-0/sender-0.bin", "run.json"])
def test_what_is_left_of_one_that_was_killed(left: str, tmp_path: Path) -> None:
    (tmp_path / left).parent.mkdir(exist_ok=True)
    (tmp_path / left).write_bytes(b"something")
    refused(tmp_path)


def test_another_folder_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What else lies there is no run."""
    (tmp_path / "notes.txt").write_text("mine")
    served: list[Any] = []

    def serving(*asked: Any) -> Any:
        served.append(asked)
        raise KeyboardInterrupt

    monkeypatch.setattr("tritonkit.load_run.served", serving)
    prepared: Any = SimpleNamespace(folder=tmp_path)
    wanted: Any = None
    with pytest.raises(KeyboardInterrupt):
        run(wanted, prepared, {}, lambda _: None, lambda _: None)
    assert len(served) == 1


def test_one_that_another_run_writes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is there yet: the other one only starts its server. It goes on as if nothing had been."""
    prepared: Any = SimpleNamespace(folder=tmp_path / "run")
    wanted: Any = None
    told: list[Any] = []

    def serving(*_: Any) -> Any:
        assert list(prepared.folder.iterdir()) == []
        with pytest.raises(ProblemsError, match="another run or sweep is under way in this folder") as raised:
            run(wanted, prepared, {}, lambda _: None, lambda _: None)
        told.extend(raised.value.problems)
        assert prepared.folder.is_dir()
        raise KeyboardInterrupt

    monkeypatch.setattr("tritonkit.load_run.served", serving)
    with pytest.raises(KeyboardInterrupt):
        run(wanted, prepared, {}, lambda _: None, lambda _: None)
    hint = "wait until it has ended, or give another folder with --out"
    assert [(problem.code, problem.hint) for problem in told] == [("TK876", hint)]
    assert not prepared.folder.exists(), "nothing had come into it"


def test_one_that_was_killed_does_not_keep_the_next_one_out(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", HOLDS_IT, str(folder)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"mine\n"
            with pytest.raises(ProblemsError, match="another run or sweep is under way"), own_folder(folder):
                pass
        finally:
            process.kill()
    with own_folder(folder):
        assert list(folder.iterdir()) == []
    assert folder.is_dir(), "it was there before"


def test_one_that_its_last_run_takes_away_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking it: the lock of a folder that is gone says nothing."""
    folder, opened, real = tmp_path / "run", list[Any](), os.open

    def taken_away(path: Any, flags: int, *more: Any, **others: Any) -> int:
        descriptor = real(path, flags, *more, **others)
        if Path(path) == folder and not opened:
            folder.rmdir()
        opened.append(path)
        return descriptor

    monkeypatch.setattr(os, "open", taken_away)
    with (
        own_folder(folder),
        pytest.raises(ProblemsError, match="another run or sweep is under way"),
        own_folder(folder),
    ):
        pass
    assert not folder.exists()


@pytest.mark.parametrize(("number", "why", "remedy"), [
    (errno.ENOSPC, "the disk is full", "free some space, then `tritonkit load report {folder}`"),
    (errno.EACCES, "permission denied", "`tritonkit load report {folder} --out FILE.html` writes it elsewhere"),
])  # fmt: skip
def test_a_page_that_cannot_be_written(
    number: int, why: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The run is told all the same, and how to come by its page."""
    folder = tmp_path / "run"
    prepared: Any = SimpleNamespace(folder=folder, asked=None, payloads=None)
    wanted: Any = SimpleNamespace(workers=0, web=False, extend=False)

    @contextmanager
    def served(*_: Any) -> Any:
        yield None

    def measured(*_: Any, **__: Any) -> Any:
        folder.rmdir()  # it makes its own
        return make_run(folder, requests=3000)

    def full(*_: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tritonkit.load_run.served", served)
    monkeypatch.setattr("loadtest.run.measure.measure", measured)
    monkeypatch.setattr("loadtest.report.page.write_page", full)
    found = run(wanted, prepared, {}, lambda _: None, lambda _: None)
    show(found, folder, as_json=False)
    out, err = capsys.readouterr()
    assert "warning[TK876]" in err
    assert f"the run is kept, but its page cannot be written: {why}" in err
    assert remedy.format(folder=folder) in err
    assert f"record   {folder}/run.json\n" in out
    assert "report   " not in out
