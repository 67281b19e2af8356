"""One file, written whole or not at all; and a folder for what is on its way to somewhere."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path


def write_whole(file: Path, text: str | bytes) -> None:
    """Replaces `file` by `text` (as UTF-8) or bytes in one step; a crash or a full disk leaves what was there.

    A file that was there keeps its mode, and its owner where that may be given. A symbolic link stays one: what it
    leads to is replaced. A device or a pipe is written into, as a shell would: it is never replaced. Raises OSError.
    """
    data = text.encode() if isinstance(text, str) else text
    try:
        if _is_special(file):
            _write_into(file, data)
        else:
            _write(file, data)
    except OSError as error:
        # The temporary file's name would say nothing to anybody.
        raise OSError(error.errno, error.strerror, str(file)) from error


def _is_special(file: Path) -> bool:
    """Whether something is there that is no file and no folder. (`/dev/stdout` has no path beyond its links.)"""
    try:
        mode = file.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _write_into(file: Path, data: bytes) -> None:
    with open(os.open(file, os.O_WRONLY), "wb") as stream:  # noqa: PTH123  (never makes a file, as Path.open would)
        stream.write(data)


def _write(file: Path, data: bytes) -> None:
    file = Path(os.path.realpath(file))
    handle, name = tempfile.mkstemp(prefix=f".{file.name[:100]}-", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        _keep_owner(file, name)  # first: it may take bits of the mode away
        Path(name).chmod(_mode(file))
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _keep_owner(file: Path, name: str) -> None:
    """Gives `name` the owner of the file that it will replace."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        owner = file.stat()
        os.chown(name, owner.st_uid, owner.st_gid)


def _mode(file: Path) -> int:
    """The permissions that the file has, or that a new one gets."""
    try:
        return stat.S_IMODE(file.stat().st_mode)
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask


@contextlib.contextmanager
def passing_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `parent` that is gone in the end, whatever it holds then. Raises OSError.

    It has its name before it is made: tempfile.mkdtemp tells it afterwards, and an interrupt between leaves a folder.
    """
    folder = parent / f"{prefix}{secrets.token_hex(6)}"
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
