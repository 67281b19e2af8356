"""The usual way to write: build the whole new tree beside the old one, then let the two change places."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from generator.write import names
from generator.write.disk import sync_directory, write_file
from generator.write.plan import Plan
from generator.write.target import remove_quietly, stage_of

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
# What says that a tree cannot be linked or exchanged here, though its files may well be written one by one.
_NOT_HERE = {
    errno.EACCES, errno.EBUSY, errno.EEXIST, errno.EINVAL, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM,
    errno.EXDEV,
}  # fmt: skip


class CannotExchangeError(Exception):
    """Directories cannot be exchanged here; nothing was changed."""


class ChangedMeanwhileError(Exception):
    """Someone else changed the repository while the new tree was built; nothing was changed by us."""


@dataclass(frozen=True)
class _Seen:
    """What tells whether someone touched a file or directory. Not its ctime: a link to it changes that."""

    inode: int
    mode: int
    size_bytes: int
    mtime_ns: int


def commit(plan: Plan, root: Path) -> None:
    """Carries out `plan` in one step. Whatever is raised, the repository is then as it was before.

    Raises CannotExchangeError, ChangedMeanwhileError and OSError.
    """
    stage = stage_of(root)
    try:
        before = _scan(root)
        _build(stage, root, before, plan)
        if _scan(root) != before:
            raise ChangedMeanwhileError
        if before:
            exchange(stage, root)
        else:
            stage.rename(root)
        # From here on the new tree is the repository: an error must not say that it was not written.
        with contextlib.suppress(OSError):
            sync_directory(root.parent)
    except FileNotFoundError as error:  # something that was seen is gone, or the directory above
        raise ChangedMeanwhileError from error
    except OSError as error:
        if error.errno in _NOT_HERE and root.is_dir():
            raise CannotExchangeError from error
        raise
    finally:
        remove_quietly(stage)


def exchange(one: Path, two: Path) -> None:
    """Lets two paths of one file system change places, atomically (Linux's renameat2). Raises OSError."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError as error:  # a C library that does not know it
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(two), _RENAME_EXCHANGE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(two))


def _scan(root: Path) -> dict[str, _Seen]:
    """Everything in the repository and itself (as ""), parents before children. Empty when there is none."""
    seen: dict[str, _Seen] = {}

    def visit(path: Path, name: str, device: int) -> None:
        status = path.lstat()
        if status.st_dev != device:  # mounted inside: it can be neither linked to nor moved
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(path))
        seen[name] = _Seen(status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns)
        if stat.S_ISDIR(status.st_mode):
            for child in sorted(path.iterdir()):
                visit(child, f"{name}/{child.name}" if name else child.name, device)

    if root.is_dir():
        visit(root, "", root.lstat().st_dev)
    return seen


def _build(stage: Path, root: Path, before: dict[str, _Seen], plan: Plan) -> None:
    """Makes `stage` what the repository shall be, on the disk down to its last name."""
    gone = {*plan.removes, *plan.empties, *plan.writes}
    kept = [name for name in before if name not in gone]
    folders = [name for name in kept if stat.S_ISDIR(before[name].mode)]
    if not before:
        stage.mkdir()
    for name in kept:
        if stat.S_ISDIR(before[name].mode):
            (stage / name).mkdir()
            _copy_status(root / name, stage / name)
            # A read-only directory gets its own mode back once it is filled.
            (stage / name).chmod(stat.S_IMODE(before[name].mode) | stat.S_IRWXU)
        else:
            os.link(root / name, stage / name, follow_symlinks=False)
    new_folders = {folder for path in plan.writes for folder in names.ancestors(path)} - set(folders)
    for folder in sorted(new_folders):
        (stage / folder).mkdir()
    for path, content in plan.writes.items():
        write_file(stage / path, content)

    changed = {name.rpartition("/")[0] for name in (*gone, *new_folders)}
    for name in reversed(folders):
        _copy_status(root / name, stage / name)
        if name in changed:
            os.utime(stage / name)
    for name in [*sorted(new_folders, reverse=True), *reversed(folders), *([] if before else [""])]:
        sync_directory(stage / name)


def _copy_status(old: Path, new: Path) -> None:
    """Gives the directory `new` the owner, mode, times and extended attributes of `old`."""
    had, has = old.lstat(), new.lstat()
    if (had.st_uid, had.st_gid) != (has.st_uid, has.st_gid):
        os.chown(new, had.st_uid, had.st_gid)
    shutil.copystat(old, new, follow_symlinks=False)
