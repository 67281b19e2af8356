"""What /proc says about processes: who they are, whether they still live, which port they listen on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_LISTEN = "0A"  # the state of a listening socket in /proc/net/tcp


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None if there is no such process (or a zombie).

    A process id comes back into use, the pair of id and start does not.
    """
    fields = _stat(pid)
    return None if not fields or fields[0] in "ZX" else int(fields[19])


def is_zombie(pid: int) -> bool:
    """True if the process has ended and its parent has not asked how."""
    return _stat(pid)[:1] == ["Z"]


def parent(pid: int) -> int:
    """The id of the process's parent; 0 if it has none."""
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty if there is no such process."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return []
    # The command stands in parentheses and may hold spaces and parentheses itself.
    return stat.rpartition(")")[2].split()


def children(pid: int) -> list[int]:
    """The ids of the processes that any thread of this one has started."""
    found: list[int] = []
    for file in (_PROC / str(pid) / "task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread has ended meanwhile
            found += map(int, file.read_text().split())
    return sorted(found)


def arguments(pid: int) -> list[str]:
    """The words of the process's command line; none if it is gone or a zombie."""
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
    return [word.decode(errors="replace") for word in words[:-1]]


def lives(pid: int, ticks: int) -> bool:
    """True while exactly this process runs."""
    return start_ticks(pid) == ticks


def command_line(pid: int) -> str:
    """The process's command line as typed, or its short name; empty if it is gone or not ours to see."""
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        return b" ".join(words).decode(errors="replace").strip() or (_PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def listening_inodes(port: int) -> set[str]:
    """The socket inodes that listen on a TCP port, of any address of this machine."""
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found


def _socket_inodes(pid: int) -> Iterator[str]:
    try:
        descriptors = list((_PROC / str(pid) / "fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target[len("socket:[") : -1]


def listens_on(pid: int, ports: set[int]) -> bool:
    """True if this very process listens on all of the ports."""
    own = set(_socket_inodes(pid))
    return all(listening_inodes(port) & own for port in ports)


def port_holder(port: int) -> int | None:
    """The process that listens on the port; None if nobody does or /proc does not tell (another user's process)."""
    inodes = listening_inodes(port)
    if not inodes:
        return None
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and inodes.intersection(_socket_inodes(int(entry.name))):
            return int(entry.name)
    return None
