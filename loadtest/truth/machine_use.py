"""How busy the whole machine was while a run went on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")


@dataclass(frozen=True)
class MachineTimes:
    """Of all cores together since the machine started, in the kernel's ticks."""

    whole: int
    idle: int
    stolen: int


@dataclass(frozen=True)
class MachineUse:
    """Shares of all cores' time, 0 to 1: `busy` with anything, `stolen` by other guests of the same host."""

    busy: float
    stolen: float


def read_times() -> MachineTimes | None:
    """Now; None where the system does not tell (no Linux)."""
    try:
        fields = [int(word) for word in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    if len(fields) < 8:
        return None
    # user nice system idle iowait irq softirq steal: waiting for a disk is idle too.
    return MachineTimes(sum(fields), fields[3] + fields[4], fields[7])


def use_between(before: MachineTimes | None, after: MachineTimes | None) -> MachineUse | None:
    """Of the time between two readings."""
    if before is None or after is None or after.whole <= before.whole:
        return None
    whole = after.whole - before.whole
    return MachineUse(1 - (after.idle - before.idle) / whole, (after.stolen - before.stolen) / whole)
