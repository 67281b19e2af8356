"""`load run --out` over a folder that holds a run, or what is left of one: nothing of it is touched."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_runs import make_run

from generator.problems import ProblemsError
from tritonkit.load_run import run


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
