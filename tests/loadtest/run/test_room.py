"""Room on the disk is taken before a run, so that one that fills up meanwhile does not cost it."""

from __future__ import annotations

import errno
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest
from steady_server import steady

sys.path.insert(0, str(Path(__file__).parent))

from load_tools import Digits, codes_of

from generator.problems import ProblemsError
from loadtest.results.run import read_run
from loadtest.run import session
from loadtest.run.measure import measure
from loadtest.run.room import COPIES, RECORD_BYTES, Room
from loadtest.samples.file import read_samples
from loadtest.samples.record import SAMPLE


def taken_for(size: int, folder: Path) -> int:
    """What this disk takes for so many bytes of a file, in its own blocks; one that compresses takes less."""
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, size)
        return min(size, os.fstat(file.fileno()).st_blocks * 512)


def test_it_is_taken_and_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = os.posix_fallocate, list[tuple[int, int]]()

    def fallocate(file: int, offset: int, length: int) -> None:
        asked.append((offset, length))
        real(file, offset, length)

    with Room(tmp_path) as room:
        least = 1000 * SAMPLE.itemsize * (COPIES - 1) + RECORD_BYTES
        wanted = taken_for(least, tmp_path)
        monkeypatch.setattr(os, "posix_fallocate", fallocate)
        room.take(1000)
        assert asked == [(0, least)], "no more than is needed"
        assert room.taken_bytes >= wanted > 0, "and it is taken from the disk"
        assert list(tmp_path.iterdir()) == [], "a run that is killed leaves it to the disk"
        room.give_back()
        room.give_back()
        assert room.taken_bytes == 0
        room.take(500)
        least = (500 * (COPIES - 1) + 1000) * SAMPLE.itemsize + RECORD_BYTES
        assert asked[1:] == [(0, least)]
        assert room.taken_bytes >= wanted
    assert room.taken_bytes == 0
    assert list(tmp_path.iterdir()) == []


def failing(number: int) -> Any:
    """An allocation that the system refuses so."""

    def fallocate(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    return fallocate


def test_a_disk_that_is_full_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", failing(errno.ENOSPC))
    with pytest.raises(ProblemsError, match="the disk is full") as raised, Room(tmp_path) as room:
        room.take(10)
    assert codes_of(raised) == ["TK876"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, errno.EFBIG])
def test_a_disk_that_reserves_nothing_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", failing(number))
    with Room(tmp_path) as room:
        room.take(10)
    assert list(tmp_path.iterdir()) == []


def fill(largest_bytes: int) -> None:
    """No file of a sender may be larger now."""
    for process in psutil.Process().children(recursive=True):
        if "loadtest.sender" in process.cmdline():
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest_bytes, largest_bytes))


def test_a_disk_that_fills_up_in_the_middle_leaves_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The senders can write no more; and neither could anybody else, if their room had not been taken before."""
    merge, take, seen, rooms = session.merge, Room.take, list[int](), list[Room]()

    def taken(room: Room, requests: int) -> None:
        rooms.append(room)
        take(room, requests)

    def merge_into_what_is_free(*arguments: Any) -> Any:
        if not seen or rooms[0].taken_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return merge(*arguments)

    def tell(text: str) -> None:
        if "answered " in text and "answered 0" not in text and not seen:
            seen.append(rooms[0].taken_bytes)
            fill(1500)

    monkeypatch.setattr(Room, "take", taken)
    monkeypatch.setattr(session, "merge", merge_into_what_is_free)
    with steady() as server:
        digits = Digits(server)
        with pytest.raises(ProblemsError, match="samples cannot be kept: File too large") as raised:
            measure(digits.asked(duration_s=60.0), digits.serving, digits.payloads, tmp_path, tell)
    assert codes_of(raised) == ["TK876"]
    assert seen[0] >= taken_for(RECORD_BYTES, tmp_path) > 0
    assert "are kept there, marked as stopped; free some space" in raised.value.problems[0].hint
    run = read_run(tmp_path)
    assert run.stopped == "samples cannot be kept: File too large"
    assert 0 < run.requests == len(read_samples(tmp_path / "samples.bin")[1]) < 6000
    assert run.judgement.verdict != "pass"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "samples.bin"]


def test_where_the_samples_are_that_found_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else took the room that was given back."""

    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(session, "merge", full)
    with steady() as server:
        digits = Digits(server)
        with pytest.raises(ProblemsError, match="the disk is full") as raised:
            measure(digits.asked(duration_s=0.5), digits.serving, digits.payloads, tmp_path, lambda _: None)
    assert codes_of(raised) == ["TK876"]
    kept = "segment-0/sender-0/samples.bin"
    assert raised.value.problems[0].hint.endswith(f"the samples so far stay in {kept}")
    assert len(read_samples(tmp_path / kept)[1]) > 20
