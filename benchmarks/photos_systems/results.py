"""From slices to figures: what each system did, and what it did compared with another in the same slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from _common import median

from loadtest.statistics import percentiles
from photos_systems.work import Mode, Slice

RAMP_S = 0.3  # left out of the throughput: the first answers come together
OURS = ("ensemble", "fused")
CPU_TARGET_US = {"ensemble": 450, "fused": 180}
TUTORIAL_TARGET, BOUND_TARGET = 3.0, 0.95


@dataclass(frozen=True)
class Measured:
    """One slice as it is kept. `place` is (round, slice within the round); CPU is in µs an image."""

    system: str
    mode: str
    place: tuple[int, int]
    images: int
    images_per_s: float
    cpu_us: dict[str, float]
    client_cpu_us: float
    batches: dict[str, float]
    latencies_us: list[int]

    @property
    def server_cpu_us(self) -> float:
        """Of all its processes together."""
        return sum(self.cpu_us.values())


def counted(part: Slice) -> int:
    """How many requests were answered while all were in flight: what the rate is of. 0 gives no figures."""
    until, ramp = part.seconds * 1e6, _ramp_us(part)
    return sum(ramp < done.done_us <= until for done in part.done)


def _ramp_us(part: Slice) -> float:
    return min(RAMP_S, part.seconds / 4) * 1e6


def measured(system: str, mode: Mode, place: tuple[int, int], part: Slice) -> Measured:
    """The figures of a slice. CPU is of all that was answered; the rate is of the time when all were in flight.

    `counted` of it has to be above 0.
    """
    images = len(part.done) * mode.images
    rate = counted(part) * mode.images / (part.seconds * 1e6 - _ramp_us(part)) * 1e6
    return Measured(
        system, mode.name, place, images, rate,
        {name: seconds / images * 1e6 for name, seconds in part.server_cpu_s.items()},
        part.client_cpu_s / images * 1e6, part.batches, [done.done_us - done.sent_us for done in part.done],
    )  # fmt: skip


def summaries(slices: list[Measured]) -> dict[str, Any]:
    """By mode and system: medians over slices with 95 % intervals, and percentiles of all latencies together."""
    found: dict[str, Any] = {}
    for mode in dict.fromkeys(s.mode for s in slices):
        for system in dict.fromkeys(s.system for s in slices if s.mode == mode):
            own = [s for s in slices if (s.mode, s.system) == (mode, system)]
            latency = percentiles([us for s in own for us in s.latencies_us])
            found.setdefault(mode, {})[system] = {
                "images_per_s": median(s.images_per_s for s in own),
                "server_cpu_us": median(s.server_cpu_us for s in own),
                "cpu_us": {name: median(s.cpu_us[name] for s in own)["median"] for name in own[0].cpu_us},
                "client_cpu_us": median(s.client_cpu_us for s in own)["median"],
                "p50_ms": latency.p50_ms,
                "p99_ms": latency.p99_ms,
                "batches": {name: median(s.batches[name] for s in own)["median"] for name in own[0].batches},
            }
    return found


def comparisons(slices: list[Measured]) -> dict[str, Any]:
    """By mode and system: CPU above the bound, and ratios of throughput, of the same turn each time."""
    found: dict[str, Any] = {}
    for mode in dict.fromkeys(s.mode for s in slices):
        table = {(s.system, s.place): s for s in slices if s.mode == mode}
        systems = dict.fromkeys(s.system for s in table.values())
        for system in (name for name in systems if name != "bound"):
            row = found.setdefault(mode, {}).setdefault(system, {})
            others = [name for name in systems if name != system] if system in OURS else ["bound"]
            for other in (name for name in others if name in systems):
                pairs = _pairs(table, system, other)
                row[f"throughput_of_{other}"] = median(a.images_per_s / b.images_per_s for a, b in pairs)
                if other == "bound":
                    row["cpu_above_bound_us"] = median(a.server_cpu_us - b.server_cpu_us for a, b in pairs)
    return found


def _pairs(
    table: dict[tuple[str, tuple[int, int]], Measured], one: str, other: str
) -> list[tuple[Measured, Measured]]:
    return [(part, table[other, place]) for (system, place), part in table.items() if system == one]


def targets(compared: dict[str, Any], one: Mode, eight: Mode) -> list[dict[str, Any]]:
    """Each target with what was found. It is met when the median meets it; the interval says how sure that is."""
    found = []

    def add(what: str, figure: dict[str, Any] | None, bound: float, at_most: bool) -> None:
        if figure is not None:
            met = figure["median"] <= bound if at_most else figure["median"] >= bound
            found.append({"what": what, "bound": bound, "at_most": at_most, "found": figure, "met": met})

    for layout in (name for name in OURS if name in compared.get(one.name, {})):
        row = compared[one.name][layout]
        add(f"{layout}: CPU above the bound, µs an image", row.get("cpu_above_bound_us"), CPU_TARGET_US[layout], True)
        add(
            f"{layout}: throughput of the tutorials' style", row.get("throughput_of_tutorial"), TUTORIAL_TARGET, False
        )
        eights = compared.get(eight.name, {}).get(layout, {})
        add(f"{layout}: share of the bound, {eight.name}", eights.get("throughput_of_bound"), BOUND_TARGET, False)
    return found
