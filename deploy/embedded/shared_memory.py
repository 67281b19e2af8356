"""Whether /dev/shm has room for a server's Python instances, asked before anything starts."""

from __future__ import annotations

import os
from dataclasses import dataclass

from deploy.embedded.supervisor import SHM_DIRECTORY
from generator.problems import UserError


class SharedMemoryError(UserError):
    """There is too little shared memory; the message says how much there is and how much is needed."""


@dataclass(frozen=True)
class SharedMemory:
    """The size of /dev/shm and what is free of it."""

    size_bytes: int
    free_bytes: int


def look() -> SharedMemory:
    """What there is now. Raises OSError where there is no /dev/shm."""
    status = os.statvfs(SHM_DIRECTORY)
    return SharedMemory(status.f_frsize * status.f_blocks, status.f_frsize * status.f_bavail)


def remedy(needed_bytes: int) -> str:
    """How to make it large enough, with half as much again to grow into."""
    size = f"{max(64, (needed_bytes >> 20) * 3 // 2)}m"
    return f"mount -o remount,size={size} /dev/shm   (in a container: docker run --shm-size={size})"


def check(needed_bytes: int) -> None:
    """Raises SharedMemoryError when less than `needed_bytes` is free."""
    try:
        found = look()
    except OSError as error:
        raise SharedMemoryError(f"there is no {SHM_DIRECTORY}", f"mount -t tmpfs tmpfs {SHM_DIRECTORY}") from error
    if found.free_bytes < needed_bytes:
        raise SharedMemoryError(
            f"{SHM_DIRECTORY} has {found.free_bytes >> 20} MiB free, and the server's Python instances need "
            f"{needed_bytes >> 20} MiB",
            remedy(needed_bytes),
        )


def shortage(full_bytes: int) -> str:
    """What is to be said where there is room to start with and none for full batches; empty where there is."""
    try:
        found = look()
    except OSError:
        return ""
    if found.free_bytes >= full_bytes:
        return ""
    return (
        f"{SHM_DIRECTORY} has {found.free_bytes >> 20} MiB free, and full batches in all Python instances need "
        f"{full_bytes >> 20} MiB: those that find no room will be refused. {remedy(full_bytes)}"
    )
