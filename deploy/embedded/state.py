"""The record of running servers, one small JSON file each, so that other commands find them by themselves."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from deploy.embedded import processes

FORMAT = 1


@dataclass(frozen=True)
class ServerRecord:
    """One running server. `start_ticks` tells it from a later process of its id, `key` opens its restricted APIs.

    `files` are the rendered files that it has loaded, by path in the repository, with the hash (SHA-256) of each;
    empty where an update broke off and what is loaded is not known. `updatable` is whether it loads models at all.
    """

    pid: int
    start_ticks: int
    http_address: str
    grpc_address: str
    metrics_address: str
    repositories: tuple[str, ...]
    key: str
    target: str
    log_path: str
    files: Mapping[str, str] = field(default_factory=dict)
    updatable: bool = False

    @property
    def running(self) -> bool:
        """True while exactly this server runs."""
        return processes.lives(self.pid, self.start_ticks)


def _path(directory: Path, pid: int) -> Path:
    return directory / f"server-{pid}.json"


def write(directory: Path, record: ServerRecord) -> Path:
    """Write the record, readable by its owner alone (it holds the key), complete or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".server-", dir=directory)  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"format": FORMAT, **asdict(record)}, file, indent=2)
            file.write("\n")
        target = _path(directory, record.pid)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


def remove(directory: Path, pid: int) -> None:
    """Forget a server; nothing happens if it is not known."""
    _path(directory, pid).unlink(missing_ok=True)


def _read(path: Path) -> ServerRecord | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("format", None) != FORMAT:
            return None
        document["repositories"] = tuple(document["repositories"])
        if set(document) != {field.name for field in fields(ServerRecord)}:
            return None
        return ServerRecord(**document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # another version's, or gone meanwhile


def running(directory: Path) -> list[ServerRecord]:
    """The servers that run now, the oldest first. Records of ended ones are removed on the way."""
    found = []
    for path in directory.glob("server-*.json"):
        record = _read(path)
        if record is None:
            continue
        if record.running:
            found.append(record)
        else:
            with contextlib.suppress(OSError):  # a read-only place
                path.unlink(missing_ok=True)
    return sorted(found, key=lambda record: record.start_ticks)


@contextlib.contextmanager
def updating(directory: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """One block at a time changes what this directory's servers have loaded; `on_wait` is called before a wait."""
    directory.mkdir(parents=True, exist_ok=True)
    with os.fdopen(
        os.open(directory / "update.lock", os.O_RDWR | os.O_CREAT, 0o600)
    ) as file:  # others cannot hold it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def recorded(directory: Path, record: ServerRecord) -> Iterator[Path]:
    """Keep the record while the block runs."""
    path = write(directory, record)
    try:
        yield path
    finally:
        remove(directory, record.pid)
