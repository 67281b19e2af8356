"""One file, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path


def write_whole(file: Path, text: str | bytes) -> None:
    """Replaces `file` by `text` (as UTF-8) or bytes in one step; a crash or a full disk leaves what was there.

    A file that was there keeps its mode, and its owner where that may be given. A symbolic link stays one: what it
    leads to is replaced. Raises OSError.
    """
    try:
        _write(file, text)
    except OSError as error:
        # The temporary file's name would say nothing to anybody.
        raise OSError(error.errno, error.strerror, str(file)) from error


def _write(file: Path, text: str | bytes) -> None:
    file = Path(os.path.realpath(file))
    handle, name = tempfile.mkstemp(prefix=f".{file.name[:100]}-", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text.encode() if isinstance(text, str) else text)
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
