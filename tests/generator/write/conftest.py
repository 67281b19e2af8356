"""What the tests of writing share: snapshots of real trees, processes of their own, faults at the k-th call."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from generator.problems import ProblemsError
from generator.write import exchange
from users import FOR_EVERYBODY

FINISHED, REFUSED, INTERRUPTED, BROKEN = 0, 3, 4, 5
_NOBODY = 65534
# Every call that changes a disk, and the one that makes changes last.
_CHANGING = ("open", "write", "fsync", "link", "mkdir", "rename", "unlink", "rmdir", "chmod", "chown", "utime")
_TAKING_SPACE = {"open", "write", "fsync", "link", "mkdir"}

Tree = dict[str, tuple[Any, ...]]


def _snapshot(root: Path, *, times: bool = False) -> Tree:
    """Everything in `root`: type, mode, contents; with `times` also the inode and mtime of files. {} if absent."""
    tree: Tree = {}
    if not root.exists():
        return tree
    for path in [root, *sorted(root.rglob("*"))]:
        status = path.lstat()
        what: tuple[Any, ...] = (stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode))
        if path.is_symlink():
            what = (*what, str(path.readlink()))
        elif path.is_file():
            what = (*what, path.read_bytes())
        if times and not path.is_dir():
            what = (*what, status.st_ino, status.st_mtime_ns)
        tree[str(path.relative_to(root))] = what
    return tree


def _in_child(body: Callable[[], object]) -> int:
    """Runs `body` in a process of its own: one of the codes above, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = BROKEN
        try:
            body()
            code = FINISHED
        except ProblemsError:
            code = REFUSED
        except KeyboardInterrupt:
            code = INTERRUPTED
        except BaseException:  # noqa: BLE001  (a forked child must not go on with the tests)
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _fault_at(number: int, fault: str) -> None:
    """Patches this (child) process: the disk-changing call `number` (from 1) is struck by `fault`."""
    count = 0

    def struck(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if fault == "kill" and count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            if fault == "interrupt" and count == number:
                raise KeyboardInterrupt
            if fault == "full" and count >= number and name in _TAKING_SPACE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if name == "fsync":  # counted; but without a power cut it changes nothing, and it is slow
                return None
            return original(*args, **kwargs)

        return call

    for name in _CHANGING:
        setattr(os, name, struck(name, getattr(os, name)))
    exchange.exchange = struck("exchange", exchange.exchange)


def _unsupported(one: Path, two: Path) -> None:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(two))


@pytest.fixture(scope="session")
def snapshot() -> Callable[..., Tree]:
    return _snapshot


@pytest.fixture(scope="session")
def in_child() -> Callable[[Callable[[], object]], int]:
    return _in_child


@pytest.fixture(scope="session")
def fault_at() -> Callable[[int, str], None]:
    return _fault_at


@pytest.fixture(params=["exchange", "journal"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to write: the second as on a file system that cannot exchange directories."""
    if request.param == "journal":
        monkeypatch.setattr(exchange, "exchange", _unsupported)
    return str(request.param)


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that every user can enter and write, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="write-", dir=FOR_EVERYBODY))
    folder.chmod(0o777)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o777)
    shutil.rmtree(folder)


@pytest.fixture
def as_ordinary_user() -> Callable[[Callable[[], object]], tuple[int, str]]:
    """Runs a body in a child without the rights of root: the code it ended with, and the problems it met."""

    def run(body: Callable[[], object]) -> tuple[int, str]:
        reading, writing = os.pipe()

        def child() -> None:
            os.close(reading)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(_NOBODY)
                os.setuid(_NOBODY)
            try:
                body()
            except ProblemsError as error:
                os.write(writing, str(error).encode())
                raise

        code = _in_child(child)
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            return code, stream.read().decode()

    return run
