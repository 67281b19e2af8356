"""What stands in a model repository: on disk, or in memory before anything is written."""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path


class Folder(ABC):
    """A directory. `path` is how places name it, `entries` says of each name in it whether it is a directory."""

    path: str
    name: str

    @property
    @abstractmethod
    def parent(self) -> Folder | None:
        """The directory that `..` leads to from here; None where that is not looked into."""

    @property
    @abstractmethod
    def entries(self) -> Mapping[str, bool]:
        """The names in it, sorted. Empty where it cannot be read."""

    @abstractmethod
    def folder(self, name: str) -> Folder:
        """The directory `name` in it, the same one each time."""

    @abstractmethod
    def read(self, name: str, limit_bytes: int = -1) -> bytes:
        """The contents of the file `name`, at most `limit_bytes` of them (-1: all). Raises OSError."""

    @abstractmethod
    def size_bytes(self, name: str) -> int:
        """How large the file `name` is. Raises OSError."""

    def has_file(self, name: str) -> bool:
        """Whether a file of that name stands directly in it."""
        return self.entries.get(name) is False

    def has_folder(self, name: str) -> bool:
        """Whether a directory of that name stands directly in it."""
        return self.entries.get(name) is True

    def shown(self, name: str) -> str:
        """How places name the file `name` of it."""
        return f"{self.path.rstrip('/')}/{name}" if self.path else name

    def unread(self) -> Iterator[tuple[str, str]]:
        """What of it could not be read although it is there, of all that was looked at: its path and the reason.

        A directory's path ends in `/`.
        """
        return iter(())

    def find(self, relative: str) -> tuple[Folder, str] | None:
        """The directory of a path below this one and the entry's name; None where there is no such entry.

        A path that leads out of the folder (`..`, `/…`) is none.
        """
        folder: Folder = self
        *above, name = relative.split("/")
        for part in above:
            if part in ("", "."):
                continue
            if not folder.has_folder(part):
                return None
            folder = folder.folder(part)
        return (folder, name) if name in folder.entries else None


class DiskFolder(Folder):
    """A directory on disk, each looked at once. Links are followed, as the server does."""

    def __init__(self, path: Path | str, shown: str | None = None, above: DiskFolder | None = None) -> None:
        self._above = above
        self._root = str(path)  # joined by hand: of 1,000 models, Path would take a tenth of lint's time
        self.path = self._root if shown is None else shown
        last = self._root.rpartition("/")[2]
        self.name = Path(path).resolve().name if last in ("", ".") else last
        self._folders: dict[str, DiskFolder] = {}
        self._unread: dict[str, str] = {}

    @property
    def parent(self) -> DiskFolder | None:
        """The directory above; not of a link, which has another above it than the one that it was found in."""
        return None if os.path.islink(self._root) else self._above  # noqa: PTH114

    @cached_property
    def entries(self) -> Mapping[str, bool]:
        """The names in it."""
        try:
            with os.scandir(self._root) as found:
                return dict(sorted((entry.name, is_folder(entry)) for entry in found))
        except OSError as error:
            self._note("", error)
            return {}

    def folder(self, name: str) -> DiskFolder:
        """The directory `name`."""
        if name not in self._folders:
            self._folders[name] = DiskFolder(f"{self._root}/{name}", self.shown(name), self)
        return self._folders[name]

    def read(self, name: str, limit_bytes: int = -1) -> bytes:
        """The contents of a file."""
        file = f"{self._root}/{name}"
        if not stat.S_ISREG(os.stat(file).st_mode):  # noqa: PTH116 - a pipe would wait for ever, a device never end
            raise OSError(errno.EINVAL, "it is not a regular file", file)
        try:
            with open(file, "rb") as stream:  # noqa: PTH123
                return stream.read(limit_bytes)
        except OSError as error:
            self._note(name, error)
            raise

    def unread(self) -> Iterator[tuple[str, str]]:
        """Itself, files of it, and the same of the directories in it."""
        yield from ((self.shown(name), reason) for name, reason in self._unread.items())
        for folder in self._folders.values():
            yield from folder.unread()

    def _note(self, name: str, error: OSError) -> None:
        # What is gone meanwhile is for the rules, which say what is missing.
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            self._unread[name] = error.strerror or str(error)

    def size_bytes(self, name: str) -> int:
        """The size of a file."""
        return os.stat(f"{self._root}/{name}").st_size  # noqa: PTH116


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a directory or leads to one; not where that cannot be found out (a link to itself)."""
    try:
        return entry.is_dir()
    except OSError:
        return False


class MemoryFolder(Folder):
    """A directory that is made of files in memory: `{"digits/config.pbtxt": b"…"}`; a path that ends in `/` is a
    directory, and one with None a link that leads nowhere."""

    def __init__(self, files: Mapping[str, bytes | None], path: str, above: MemoryFolder | None = None) -> None:
        self._above = above
        self.path = path
        self.name = path.rsplit("/", 1)[-1]
        self._files: dict[str, bytes | None] = {}
        below: dict[str, dict[str, bytes | None]] = {}
        for file, data in files.items():
            first, slash, rest = file.partition("/")
            if not slash:
                self._files[first] = data
            elif rest:
                below.setdefault(first, {})[rest] = data
            else:
                below.setdefault(first, {})
        self._folders = {name: MemoryFolder(inner, self.shown(name), self) for name, inner in below.items()}
        self._entries = dict(sorted([*((n, False) for n in self._files), *((n, True) for n in self._folders)]))

    @property
    def parent(self) -> MemoryFolder | None:
        """The directory above."""
        return self._above

    @property
    def entries(self) -> Mapping[str, bool]:
        """The names in it."""
        return self._entries

    def folder(self, name: str) -> MemoryFolder:
        """The directory `name`."""
        return self._folders.get(name) or MemoryFolder({}, self.shown(name), self)

    def read(self, name: str, limit_bytes: int = -1) -> bytes:
        """The contents of a file."""
        data = self._file(name)
        return data if limit_bytes < 0 else data[:limit_bytes]

    def size_bytes(self, name: str) -> int:
        """The size of a file."""
        return len(self._file(name))

    def _file(self, name: str) -> bytes:
        data = self._files.get(name)
        if data is None:
            raise FileNotFoundError(2, "No such file or directory", self.shown(name))
        return data
