"""Where a repository is, where the tool's own temporary files for it go, and who may write it now."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from generator.problems import Problem, ProblemsError
from generator.write.disk import Kind, kind_of, remove_tree
from generator.write.failures import in_use, no_permission, not_a_directory, one_sentence_each, read_only

_POLL_S = 0.05


def resolve(root: str | Path) -> Path:
    """The absolute path of the repository; a link that the user names is followed here, once and for all.

    Raises ProblemsError: TK407 when something other than a directory is there, or above it.
    """
    path = Path(os.path.realpath(root))
    with one_sentence_each(path):
        try:
            kind = kind_of(path)
        except NotADirectoryError as error:
            file = next(above for above in path.parents if above.exists())
            raise ProblemsError([not_a_directory(file)]) from error
    if kind not in {Kind.ABSENT, Kind.DIRECTORY}:
        raise ProblemsError([not_a_directory(path)])
    return path


def stage_of(root: Path) -> Path:
    """Where the new tree is built: beside the repository, so that it is on the same file system."""
    return root.parent / f".{root.name}.tritonkit-new"


def must_stay_in_place(root: Path) -> bool:
    """Whether the repository's own directory cannot be replaced: something is mounted there or further inside,
    which would move along with the old tree and be emptied with it, or nothing can be put beside it.
    """
    if not root.is_dir():
        return False
    is_mounted = any(point == root or root in point.parents for point in mount_points())
    return is_mounted or os.path.ismount(root) or not _is_writable(root.parent)


def mount_points(table: Path = Path("/proc/self/mountinfo")) -> list[Path]:
    """Where file systems are mounted. Comparing device numbers would miss a directory that is bound elsewhere."""
    if not table.exists():  # not Linux, where directories are not exchanged anyway
        return []
    fields = [line.split(b" ")[4] for line in table.read_bytes().splitlines()]
    # The kernel writes spaces, tabs, newlines and backslashes in names as octal numbers.
    plain = [re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field) for field in fields]
    return [Path(os.fsdecode(name)) for name in plain]


def lock_file_of(root: Path) -> Path:
    """The lock of the repository: beside it, or inside where nothing can be put beside it."""
    if must_stay_in_place(root):
        return root / ".tritonkit-lock"
    return root.parent / f".{root.name}.tritonkit-lock"


@contextlib.contextmanager
def locked(root: Path, wait_s: float) -> Iterator[None]:
    """Holds the repository for this process alone; the kernel frees it when the process dies.

    Raises ProblemsError (TK409) when another process still holds it after `wait_s` seconds.
    """
    deadline_s = time.monotonic() + wait_s
    path = lock_file_of(root)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            if _try_lock(descriptor) and _is_still(path, descriptor):
                try:
                    yield
                finally:
                    # Removed while it is held: whoever waits on this file sees that it is gone, and starts over.
                    with contextlib.suppress(OSError):
                        path.unlink()
                return
        finally:
            os.close(descriptor)
        if time.monotonic() >= deadline_s:
            raise ProblemsError([in_use(root, f"another run is writing {root}, and did not end in {wait_s:g} s")])
        time.sleep(_POLL_S)


@contextlib.contextmanager
def parents_made(root: Path) -> Iterator[None]:
    """Makes the directories above `root`, and takes those it made away again when the body fails."""
    made: list[Path] = []
    try:
        for folder in reversed(root.parents):
            if not folder.is_dir():
                folder.mkdir()
                made.append(folder)
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for folder in reversed(made):
                folder.rmdir()
        raise


def cannot_write(root: Path, folders: Sequence[str]) -> list[Problem]:
    """A problem for each of the `folders` of the repository in which names cannot be changed."""
    problems = []
    for folder in sorted(set(folders)):
        path = root / folder
        while not os.path.lexists(path):
            path = path.parent
        if path.is_dir() and not _is_writable(path):
            is_read_only = os.statvfs(path).f_flag & os.ST_RDONLY
            problems.append(read_only(path) if is_read_only else no_permission(path))
    return list(dict.fromkeys(problems))


def remove_quietly(path: Path) -> bool:
    """Removes a temporary tree; False when that failed, which the next run makes good."""
    try:
        remove_tree(path)
    except OSError:
        return False
    except BaseException:  # Ctrl-C while cleaning up: finish that first
        with contextlib.suppress(OSError):
            remove_tree(path)
        raise
    return True


def _is_writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=True)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether `path` is the file that was opened; it is not when its last holder has removed it since."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
