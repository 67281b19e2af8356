"""One setting: a value for every axis of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DELAY, INSTANCES, PREFERRED = "max_queue_delay_us", "instances", "preferred"
MAX_BATCH, LAYOUT = "max_batch_size", "layout"
Value = int | str | tuple[int, ...]


@dataclass(frozen=True)
class Setting:
    """Axis and value, in the order of the axes. A preferred of () is none."""

    values: tuple[tuple[str, Value], ...]

    @classmethod
    def of(cls, json: Mapping[str, Any]) -> Setting:
        """The reverse of `as_json`."""
        return cls(tuple((axis, tuple(value) if isinstance(value, list) else value) for axis, value in json.items()))

    def as_json(self) -> dict[str, Any]:
        """Axis -> value, lists where there are several numbers."""
        return {axis: list(value) if isinstance(value, tuple) else value for axis, value in self.values}

    def get(self, axis: str) -> Value | None:
        """Its value of one axis; None where that is not swept."""
        return dict(self.values).get(axis)

    @property
    def delay_us(self) -> int | None:
        """The queue delay, if that is swept."""
        value = self.get(DELAY)
        return value if isinstance(value, int) else None

    def at(self, delay_us: int) -> Setting:
        """The same with another delay."""
        return Setting(tuple((axis, delay_us if axis == DELAY else value) for axis, value in self.values))

    @property
    def arm(self) -> tuple[tuple[str, Value], ...]:
        """All of it but the delay: settings of one arm lie on one curve."""
        return tuple(pair for pair in self.values if pair[0] != DELAY)

    def words(self) -> str:
        """As people and tables name it: `500 µs, instances 2, preferred 8/16`."""
        return ", ".join(_words(axis, value) for axis, value in self.values)


def _words(axis: str, value: Value) -> str:
    if axis == DELAY:
        return f"{value} µs"
    return f"{axis} {shown(value)}"


def shown(value: Value) -> str:
    """A value as it is given on the command line."""
    if isinstance(value, tuple):
        return "/".join(map(str, value)) or "none"
    return str(value)
