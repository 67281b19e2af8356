"""CPU time of other processes, to the nanosecond: the kernel's clock of a process, all its threads included."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_WHOLE_PROCESS = 2  # CPUCLOCK_SCHED, as clock_getcpuclockid(3) puts it together


def cpu_s(pid: int) -> float:
    """User and system time of a process since it began, without its children. OSError when it is gone."""
    return time.clock_gettime((~pid << 3) | _WHOLE_PROCESS)


def cpu_of(groups: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """The sum of each group of processes."""
    return {name: sum(map(cpu_s, pids)) for name, pids in groups.items()}


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each group has used between two readings."""
    return {name: after[name] - before[name] for name in after}


def family(pid: int) -> list[int]:
    """A process and all that descend from it and live. Empty when it is gone."""
    found = [pid]
    for process in found:
        try:
            tasks = list(Path(f"/proc/{process}/task").iterdir())
            found += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
    return [process for process in found if Path(f"/proc/{process}").is_dir()]
