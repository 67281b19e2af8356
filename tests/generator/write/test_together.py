"""Several at one repository: two runs, and a run and a person."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from generator.problems import ProblemsError
from generator.write import MANIFEST_FILE, check, disk, exchange, write, writer
from generator.write.target import lock_file_of, stage_of

Snapshot = Callable[..., dict[str, Any]]


def one(path: str) -> str:
    return "digits"


def test_a_second_run_waits_briefly_and_leaves_the_first_alone(
    tmp_path: Path, in_child: Callable[[Callable[[], object]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "r"
    write({"m/1/x": b"old"}, root, owner_of=one)
    real = exchange.exchange

    def second_run_meanwhile(stage: Path, target: Path) -> None:
        """Stands where the first run is about to exchange the trees."""
        new_tree = sorted(str(path) for path in stage.rglob("*"))

        def second() -> None:
            with pytest.raises(ProblemsError) as caught:
                write({"m/1/x": b"second"}, root, owner_of=one, wait_s=0.2)
            (problem,) = caught.value.problems
            assert problem.code == "TK409"
            assert problem.message == f"another run is writing {root}, and did not end in 0.2 s"

        assert in_child(second) == 0
        assert sorted(str(path) for path in stage.rglob("*")) == new_tree
        real(stage, target)

    monkeypatch.setattr(exchange, "exchange", second_run_meanwhile)
    assert write({"m/1/x": b"first"}, root, owner_of=one).written == ("m/1/x",)
    assert (root / "m/1/x").read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [root]


def test_a_run_of_a_dead_process_is_not_waited_for(tmp_path: Path) -> None:
    root = tmp_path / "r"
    stage_of(root).mkdir()
    lock_file_of(root).touch()
    assert write({"m/1/x": b""}, root, owner_of=one, wait_s=0.0).written == ("m/1/x",)
    assert list(tmp_path.iterdir()) == [root]


@pytest.mark.usefixtures("way")
def test_runs_in_parallel_end_with_the_whole_of_one(tmp_path: Path) -> None:
    root = tmp_path / "r"
    versions = [{f"m/{k}/x": f"{version} {k}".encode() for k in range(4)} for version in range(3)]
    children = []
    for files in versions:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for _ in range(6):
                    write(files, root, owner_of=one, wait_s=60.0)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    assert sum(check(files, root, owner_of=one) == [] for files in versions) == 1
    assert list(tmp_path.iterdir()) == [root]
    assert sorted(root.iterdir()) == [root / MANIFEST_FILE, root / "m"]


@pytest.mark.parametrize("change", ["create", "edit", "delete"])
def test_what_a_person_does_while_the_tree_is_built_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    root = tmp_path / "r"
    write({"m/1/x": b"old"}, root, owner_of=one)
    (root / "mine").write_text("draft")
    real = disk.write_file
    done: list[str] = []

    def write_file(path: Path, content: bytes) -> None:
        real(path, content)
        if not done:
            done.append(change)
            if change == "create":
                (root / "m" / "1" / "notes").write_text("saved")
            elif change == "edit":  # as editors do: a new file in place of the old
                (root / "draft").write_text("saved")
                (root / "draft").rename(root / "mine")
            else:
                (root / "mine").unlink()

    monkeypatch.setattr(exchange, "write_file", write_file)
    write({"m/1/x": b"new"}, root, owner_of=one)
    assert done == [change]
    assert (root / "m/1/x").read_bytes() == b"new"
    if change == "create":
        assert (root / "m/1/notes").read_text() == "saved"
    elif change == "edit":
        assert (root / "mine").read_text() == "saved"
    else:
        assert not (root / "mine").exists()


def test_a_repository_that_never_rests_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "r"
    write({"m/1/x": b"old"}, root, owner_of=one)
    real = disk.write_file

    def write_file(path: Path, content: bytes) -> None:
        real(path, content)
        (root / f"note-{len(list(root.iterdir()))}").touch()

    monkeypatch.setattr(exchange, "write_file", write_file)
    with pytest.raises(ProblemsError, match="TK409"):
        write({"m/1/x": b"new"}, root, owner_of=one)
    assert (root / "m/1/x").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [root]


def test_an_old_tree_that_cannot_be_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "r"
    write({"m/1/x": b"old"}, root, owner_of=one)

    def refuse(path: Path) -> bool:
        return not path.exists()

    monkeypatch.setattr(exchange, "remove_quietly", refuse)
    monkeypatch.setattr(writer, "remove_quietly", refuse)
    report = write({"m/1/x": b"new"}, root, owner_of=one)
    assert [(w.code, w.place.file) for w in report.warnings] == [("TK415", str(stage_of(root)))]
    assert (root / "m/1/x").read_bytes() == b"new"
    monkeypatch.undo()
    assert write({"m/1/x": b"new"}, root, owner_of=one).warnings == ()
    assert list(tmp_path.iterdir()) == [root]
