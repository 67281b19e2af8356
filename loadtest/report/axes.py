"""Which setting of a sweep runs along the x axis, and what the other settings divide into panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.report import words
from loadtest.results.sweep import Point, Sweep

_OWN = 15
_UNITS = {"us": "µs", "ms": "ms", "bytes": "bytes", "s": "s"}


@dataclass(frozen=True)
class Axis:
    """The setting along x. One of texts or lists is spread evenly in the order of `order`, and `ticks` name them."""

    name: str
    order: tuple[Any, ...]
    is_number: bool

    @property
    def title(self) -> str:
        """With its unit where the name ends in one."""
        stem, _, unit = self.name.rpartition("_")
        return f"{stem}, {_UNITS[unit]}" if stem and unit in _UNITS else self.name

    @property
    def ticks(self) -> list[tuple[float, str]] | None:
        """The values themselves, unless they are very many numbers: None, and round values do."""
        if self.is_number:
            return [(float(value), words.tick(value)) for value in self.order] if len(self.order) <= _OWN else None
        return [(float(place), words.compact(value)) for place, value in enumerate(self.order)]

    def place(self, point: Point) -> float:
        """Where a point lies along it."""
        value = point.settings.get(self.name)
        return float(value) if self.is_number and value is not None else float(self.order.index(value))


@dataclass(frozen=True)
class Panel:
    """The points that share all other settings; `name` says them, and is empty where there are none."""

    name: str
    points: tuple[Point, ...]


def axis_of(sweep: Sweep) -> Axis:
    """The setting of numbers with the most values, the queue's delay where it has as many; else one of texts."""
    values = {key: _values(sweep.points, key) for point in sweep.points for key in point.settings}
    if not values:
        return Axis("setting", (None,), is_number=False)
    name = max(values, key=lambda key: (_numbers(values[key]), len(values[key]), "delay" in key))
    found = values[name]
    is_number = _numbers(found)
    return Axis(name, tuple(sorted(found)) if is_number else tuple(found), is_number)


def panels_of(sweep: Sweep, axis: Axis) -> list[Panel]:
    """In the order of the points."""
    found: dict[str, list[Point]] = {}
    for point in sweep.points:
        rest = {key: value for key, value in point.settings.items() if key != axis.name}
        found.setdefault(words.settings(rest) if rest else "", []).append(point)
    return [Panel(name, tuple(sorted(points, key=axis.place))) for name, points in found.items()]


def _values(points: Sequence[Point], key: str) -> list[Any]:
    found: list[Any] = []
    for point in points:
        if point.settings.get(key) not in found:
            found.append(point.settings.get(key))
    return found


def _numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def heading(sweep: Sweep) -> str:
    """The names of all settings, as `short` gives their values."""
    return " · ".join(words.text(key) for key in dict.fromkeys(key for p in sweep.points for key in p.settings))


def short(point: Point) -> str:
    """A point by its values alone."""
    values = point.settings.values()
    return " · ".join(words.tick(v) if _numbers([v]) else words.compact(v) for v in values) or "as it is"
