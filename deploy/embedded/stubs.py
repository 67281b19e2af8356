"""The Python processes (stubs) of a server, one for each instance of a Python model.

Triton neither notices when one ends nor starts it again: every request that it would answer fails, and the
health endpoints still say that all is well.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded import processes
from deploy.embedded.installation import STUB

_COLLECTED_S = 0.05  # what Triton may take to collect a stub that it has ended


@dataclass(frozen=True)
class Stub:
    """One running stub and what it serves; `instance` is Triton's name, such as `digits_0_0`."""

    pid: int
    model: str
    version: str
    instance: str


def running(server_pid: int) -> list[Stub]:
    """The stubs that run now, as their command lines tell: stub, model.py, …, instance, kind."""
    found = []
    for pid in processes.children(server_pid):
        words = processes.arguments(pid)
        if len(words) > 3 and Path(words[0]).name == STUB:
            directory = Path(words[1]).parent
            found.append(Stub(pid, directory.parent.name, directory.name, words[-2]))
    return found


def lacks(server_pid: int, model: str, instances: int) -> bool:
    """Whether fewer than `instances` stubs run for a version of the model, or none at all."""
    versions = Counter(stub.version for stub in running(server_pid) if stub.model == model)
    return not versions or min(versions.values()) < instances


class Watch:
    """Notices stubs of a running server that ended while nobody asked them to."""

    def __init__(self, server_pid: int) -> None:
        self._server_pid = server_pid
        self._known = {stub.pid: stub for stub in running(server_pid)}

    def ended(self) -> list[Stub]:
        """Those that have ended since the last call; those that models brought meanwhile are watched from now on.

        They are zombies then, and stay so: Triton collects a stub that it ends itself, at once, and no other.
        """
        known, self._known = self._known, {stub.pid: stub for stub in running(self._server_pid)}
        gone = [stub for pid, stub in known.items() if pid not in self._known and processes.is_zombie(pid)]
        if gone:
            time.sleep(_COLLECTED_S)
            gone = [stub for stub in gone if processes.is_zombie(stub.pid)]
        return gone if processes.start_ticks(self._server_pid) is not None else []
