"""Time by layer as plain data, whichever engine it is of."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LayerTime:
    """What an engine ran as one: the median time of a run in milliseconds.

    `layers` are the names of the graph's own nodes that it computes, none where the engine added it. `flops` and
    `moved_bytes` are of them together; None is unknown.
    """

    name: str
    op_type: str
    ms: float
    layers: tuple[str, ...] = ()
    flops: int | None = None
    moved_bytes: int | None = None


@dataclass(frozen=True)
class Profile:
    """All rows in the order in which they ran. `total_ms` is the median of whole runs, `outside_ms` that of what is
    in no layer: handing tensors over, starting. Medians of parts need not add up to that of the whole.

    `gone` are nodes that the engine need not run: computed from constants when it was loaded, or dropped.
    """

    engine: str
    rows: tuple[LayerTime, ...]
    total_ms: float
    outside_ms: float
    runs: int
    gone: tuple[str, ...] = ()

    @property
    def layers_ms(self) -> float:
        """The sum of all rows: what shares are of."""
        return sum(row.ms for row in self.rows)


def profiled(
    engine: str, rows: Iterable[LayerTime], runs: Sequence[Sequence[tuple[str, float]]], totals_ms: Sequence[float],
    gone: tuple[str, ...],
) -> Profile:  # fmt: skip
    """A Profile of `runs`, each (name, ms) of what ran, and the time in ms of each as a whole."""
    outside = [total - sum(ms for _, ms in run) for run, total in zip(runs, totals_ms, strict=True)]
    return Profile(engine, tuple(rows), statistics.median(totals_ms), statistics.median(outside), len(runs), gone)


def medians(runs: Iterable[Iterable[tuple[str, float]]]) -> dict[str, float]:
    """Name → median of its time in all runs, in the order of the first run. A name twice in a run counts as a sum."""
    times: dict[str, list[float]] = {}
    for run in runs:
        of_run: dict[str, float] = {}
        for name, ms in run:
            of_run[name] = of_run.get(name, 0.0) + ms
        for name, ms in of_run.items():
            times.setdefault(name, []).append(ms)
    return {name: statistics.median(found) for name, found in times.items()}
