"""The folder of a run or a sweep, which is that of one alone: two would mix their files."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loadtest.run.problem import refused
from loadtest.run.writing import holds_run, holds_sweep, unwritable

_ELSEWHERE = "give another folder with --out"


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Makes it before a server is started in vain; takes it away when nothing has come into it.

    Raises ProblemsError (TK876) where that cannot be, where a run or a sweep is already, or where one is under way.
    """
    with locked_folder(folder):
        try:
            held = "a run" if holds_run(folder) else "a sweep" if holds_sweep(folder) else ""
            if held:
                message = f"{held} is in this folder already, and nothing of it was changed"
                raise refused("TK876", str(folder), message, f"{_ELSEWHERE}, or take this one away")
            with tempfile.TemporaryFile(dir=folder):  # a folder that is there may not be ours to write to
                pass
        except OSError as error:
            raise unwritable(folder, error) from error
        yield


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Makes it, and takes it away when nothing has come into it; no other run and no sweep gets it meanwhile.

    There is no file that could be left: the lock ends with this process, however that ends. Raises ProblemsError
    (TK876) where that cannot be, or where another one has it.
    """
    try:
        descriptor, is_new = _locked(folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield
    finally:
        if is_new:
            with suppress(OSError):
                folder.rmdir()
        os.close(descriptor)


def _locked(folder: Path) -> tuple[int, bool]:
    """What holds the lock while it is open, and whether the folder was made for it. Raises OSError, ProblemsError."""
    while True:
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # another run has just taken it away: nothing had come into it
            continue
        try:
            _lock(folder, descriptor)
            if _is_still(folder, descriptor):
                return descriptor, is_new
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(folder: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        message = "another run or sweep is under way in this folder, and nothing of it was changed"
        raise refused("TK876", str(folder), message, f"wait until it has ended, or {_ELSEWHERE}") from None
    except OSError:  # a disk of another machine may know no locks of folders
        pass


def _is_still(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
