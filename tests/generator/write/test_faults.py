"""Crashes, full disks and Ctrl-C at every single call that changes the disk: all of the old, or all of the new."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from generator.problems import ProblemsError
from generator.write import journal, write
from generator.write.disk import remove_tree
from generator.write.target import lock_file_of, stage_of

FINISHED, REFUSED, INTERRUPTED = 0, 3, 4
OLD = {
    "m/1": b"file",
    "n/1/x": b"inside",
    "p/config.pbtxt": b"old",
    "p/1/model.onnx": b"\0" * 5000,
    "q/1/x": b"stale",
}
NEW = {
    "m/1/x": b"inside",
    "n/1": b"file",
    "p/config.pbtxt": b"new",
    "p/1/model.onnx": b"\0" * 5000,
    "r/1/x": b"fresh",
}
MOST_CALLS = 400
SHARED_MEMORY = Path("/dev/shm")

InChild = Callable[[Callable[[], object]], int]
FaultAt = Callable[[int, str], None]
Snapshot = Callable[..., dict[str, Any]]


def one(path: str) -> str:
    return "digits"


def put_old(root: Path) -> None:
    write(OLD, root, owner_of=one)
    (root / "mine").mkdir()
    (root / "mine" / "notes").write_text("by hand")
    (root / "mine" / "link").symlink_to("notes")
    (root / "mine").chmod(0o555)


def put_new(root: Path) -> None:
    write(NEW, root, owner_of=one, prune=True)


def leftovers(root: Path) -> list[str]:
    beside = [path.name for path in root.parent.iterdir() if path != root]
    return beside + [name for name in (journal.JOURNAL, journal.SCRATCH) if (root / name).exists()]


def strike(number: int, fault: str, root: Path, in_child: InChild, fault_at: FaultAt) -> int:
    """Writes NEW in a child whose call `number` is struck."""

    def body() -> None:
        fault_at(number, fault)
        put_new(root)

    return in_child(body)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a power cut could tell the difference, and these tests write a thousand times."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that a thousand small changes cost nothing; on the disk's where there is none."""
    if not SHARED_MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="write-faults-", dir=SHARED_MEMORY) as folder:
        yield Path(folder)


@pytest.mark.parametrize("fault", ["kill", "full", "interrupt"])
@pytest.mark.parametrize("existed", [True, False])
def test_old_or_new_whatever_happens_when(
    tmp_path: Path, in_memory: Path, way: str, fault: str, existed: bool, snapshot: Snapshot, in_child: InChild,
    fault_at: FaultAt,
) -> None:  # fmt: skip
    folder = in_memory if existed else tmp_path  # a new repository takes few calls: those are made on the disk
    template, wanted, root = folder / "template" / "r", folder / "wanted" / "r", folder / "here" / "r"
    if existed:
        put_old(template)
        shutil.copytree(template, wanted, symlinks=True)
    put_new(wanted)
    old, new = snapshot(template), snapshot(wanted)
    outcomes = set()
    for number in range(1, MOST_CALLS):
        root.parent.mkdir()
        if existed:
            shutil.copytree(template, root, symlinks=True)
        code = strike(number, fault, root, in_child, fault_at)
        assert code in {FINISHED, REFUSED, INTERRUPTED, -signal.SIGKILL}
        state = snapshot(root)
        if fault == "kill" and (root / journal.JOURNAL).exists():
            assert way == "journal"
            journal.recover(root)  # as the next run does first
            state = snapshot(root)
        state = {path: what for path, what in state.items() if not path.startswith(journal.SCRATCH)}
        assert state in (old, new), f"half a repository after {fault} at call {number}"
        if code == REFUSED:
            assert state == old, f"reported as not written, but written, after {fault} at call {number}"
        if fault != "kill":
            assert set(leftovers(root)) <= {lock_file_of(root).name}, f"left after {fault} at call {number}"
        outcomes.add((code, state == new))
        put_new(root)
        assert snapshot(root) == new
        assert leftovers(root) == []
        remove_tree(root.parent)
        if code == FINISHED:
            break
    else:
        pytest.fail("the run was struck at every number of calls that was tried")
    # The faults did strike, both before and after the point of no return.
    assert len(outcomes) >= 2
    assert (FINISHED, True) in outcomes


def test_a_roll_back_that_is_killed_itself_is_finished_by_the_next(
    tmp_path: Path, snapshot: Snapshot, in_child: InChild, fault_at: FaultAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "r"
    put_old(root)
    old = snapshot(root)
    monkeypatch.setattr(journal, "_sync", lambda *args: os.kill(os.getpid(), signal.SIGKILL))
    monkeypatch.setattr("generator.write.writer.must_stay_in_place", lambda root: True)
    assert in_child(lambda: put_new(root)) == -signal.SIGKILL
    monkeypatch.undo()
    shutil.copytree(root, tmp_path / "half", symlinks=True)
    assert snapshot(root) != old
    for number in range(1, MOST_CALLS):

        def body(number: int = number) -> None:
            fault_at(number, "kill")
            journal.recover(root)

        code = in_child(body)
        if code == FINISHED:
            break
        # Half a roll-back, then another half, and only then a whole one.
        in_child(body)
        journal.recover(root)
        assert snapshot(root) == old, number
        remove_tree(root)
        shutil.copytree(tmp_path / "half", root, symlinks=True)
    assert number > 10
    assert snapshot(root) == old


def test_a_real_limit_of_the_system_is_one_sentence(tmp_path: Path, way: str, snapshot: Snapshot) -> None:
    root = tmp_path / "r"
    put_old(root)
    before = snapshot(root)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(ProblemsError) as caught:
            write({"big/1/model.onnx": bytes(20_000)}, root, owner_of=one)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (problem,) = caught.value.problems
    assert (problem.code, problem.message) == ("TK408", f"{root} could not be read or written: file too large")
    assert snapshot(root) == before
    assert leftovers(root) == []


def test_a_full_disk_is_one_sentence(
    tmp_path: Path, way: str, snapshot: Snapshot, in_child: InChild, fault_at: FaultAt
) -> None:
    root = tmp_path / "r"
    put_old(root)
    before = snapshot(root)

    def body() -> None:
        fault_at(12, "full")
        with pytest.raises(ProblemsError) as caught:
            put_new(root)
        (problem,) = caught.value.problems
        assert problem.code == "TK405"
        assert problem.message == f"the disk is full, so {root} was not written"

    assert in_child(body) == FINISHED
    assert snapshot(root) == before
    assert leftovers(root) == []


def test_a_leftover_of_a_killed_run_goes_even_if_nothing_is_to_be_written(tmp_path: Path, way: str) -> None:
    root = tmp_path / "r"
    put_new(root)
    shutil.copytree(root, stage_of(root))
    lock_file_of(root).touch()
    (root / journal.SCRATCH).mkdir()
    put_new(root)
    assert leftovers(root) == []
