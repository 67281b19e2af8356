"""What a killed load test leaves in /tmp and /dev/shm is gone with the next one, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from loadtest.owner import abandoned, owner
from loadtest.run.passing import owned_folder

HOLDS_ONE = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from loadtest.run.passing import owned_folder
with owned_folder("load") as folder:
    (folder / "repository").mkdir()
    print(folder.name, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def own_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_of_one_that_was_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDS_ONE, str(tmp_path)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            name = process.stdout.readline().decode().strip()
            with owned_folder("load") as mine:
                assert names(tmp_path) == {name, mine.name}, "it still runs"
        finally:
            process.kill()
    assert names(tmp_path) == {name}
    with owned_folder("load") as mine:
        assert names(tmp_path) == {mine.name}
    assert names(tmp_path) == set()


def test_a_process_that_has_its_id_by_now_is_another_one(tmp_path: Path) -> None:
    pid, started = owner().split("-")
    (tmp_path / f"tritonkit-load-{pid}-{int(started) - 1}-aaaaaaaaaaaa").mkdir()
    with owned_folder("load") as mine:
        assert names(tmp_path) == {mine.name}


def test_what_is_not_of_a_load_test_stays(tmp_path: Path) -> None:
    """Nor what is of an older one, whose name does not tell; nor what a link leads to."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("mine")
    (tmp_path / "tritonkit-load-0123456789ab").mkdir()
    (tmp_path / "tritonkit-build-1-1-aaaaaaaaaaaa").mkdir()
    (tmp_path / "tritonkit-load-1-1-aaaaaaaaaaaa").symlink_to(elsewhere)
    (tmp_path / "tritonkit-load-1-1-notes.txt").write_text("mine")
    before = names(tmp_path)
    with owned_folder("load"):
        pass
    assert names(tmp_path) == before
    assert names(elsewhere) == {"mine.txt"}


def test_one_that_another_container_holds_stays(tmp_path: Path) -> None:
    """There its process has an id that says nothing here; the lock does."""
    with owned_folder("load") as theirs:
        folder = theirs.rename(tmp_path / "tritonkit-load-1-1-aaaaaaaaaaaa")
        with owned_folder("load"):
            assert folder.is_dir()


def test_memory_of_one_that_was_killed(tmp_path: Path) -> None:
    for name in ("1-1-0", f"{owner()}-0"):
        (tmp_path / f"tritonkit-load-{name}").write_bytes(b"tensors")
    assert [path.name for path in abandoned(tmp_path, "tritonkit-load-")] == ["tritonkit-load-1-1-0"]
    assert os.getpid() == int(owner().partition("-")[0])
