"""Small steps on the file system that every part of writing needs. Nothing here follows a symbolic link."""

from __future__ import annotations

import enum
import hashlib
import os
import stat
from pathlib import Path

_CHUNK_BYTES = 1 << 20


class Kind(enum.Enum):
    """What is at a path."""

    ABSENT = "nothing"
    FILE = "a file"
    DIRECTORY = "a directory"
    LINK = "a symbolic link"
    OTHER = "a special file"


def kind_of(path: Path) -> Kind:
    """What is at `path` itself."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return Kind.ABSENT
    if stat.S_ISREG(mode):
        return Kind.FILE
    if stat.S_ISDIR(mode):
        return Kind.DIRECTORY
    return Kind.LINK if stat.S_ISLNK(mode) else Kind.OTHER


def look(root: Path, path: str) -> tuple[Kind, str]:
    """What is at `path` inside `root`, and where the way to it ended.

    The second value is `path` itself, or the part of it that is not a directory and so ends the way early.
    """
    parts = path.split("/")
    for count in range(1, len(parts)):
        before = "/".join(parts[:count])
        if (kind := kind_of(root / before)) is not Kind.DIRECTORY:
            return kind, before
    return kind_of(root / path), path


def same_contents(path: Path, content: bytes) -> bool:
    """Whether the regular file `path` holds exactly `content`."""
    view = memoryview(content)
    with path.open("rb") as stream:
        if os.fstat(stream.fileno()).st_size != len(content):
            return False
        for start in range(0, len(content), _CHUNK_BYTES):
            if stream.read(_CHUNK_BYTES) != view[start : start + _CHUNK_BYTES]:
                return False
        return not stream.read(1)


def sha256_of(path: Path) -> str:
    """The SHA-256 of the regular file `path`, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_file(path: Path, content: bytes) -> None:
    """Creates `path`, which must not exist, and returns once its contents are on the disk."""
    # 0o666 less the umask: what any other program would give a new file.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Returns once the names in the directory `path` are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(top: Path) -> None:
    """Removes `top`, which may be a tree with read-only directories, or absent. Modes of files are left alone:
    a file here can be a hard link to one that stays.
    """
    if (kind := kind_of(top)) is Kind.ABSENT:
        return
    if kind is not Kind.DIRECTORY:
        top.unlink()
        return
    if (mode := top.lstat().st_mode) & stat.S_IRWXU != stat.S_IRWXU:
        top.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)
    for child in sorted(top.iterdir()):
        remove_tree(child)
    top.rmdir()
