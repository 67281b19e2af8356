"""From values to pixels, and the round values that stand at an axis."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["linear", "log", "knee"]


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` between the pixels `start` and `end`.

    `knee` is linear near 0 and logarithmic above `knee`, for values that begin at 0 and span decades.
    """

    low: float
    high: float
    start: float
    end: float
    kind: Kind = "linear"
    knee: float = 1.0

    def __call__(self, value: float) -> float:
        """The pixel of a value; what lies outside is at the nearer end."""
        low, high = self._bent(self.low), self._bent(self.high)
        part = (self._bent(value) - low) / (high - low) if high > low else 0.5
        return self.start + min(max(part, 0.0), 1.0) * (self.end - self.start)

    def _bent(self, value: float) -> float:
        if self.kind == "log":
            return math.log10(max(value, 1e-12))
        return math.log1p(value / self.knee) if self.kind == "knee" else value

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round values within the scale, about so many."""
        if self.kind == "linear":
            return _linear(self.low, self.high, wanted)
        low = self.low if self.kind == "log" else self.knee
        found = _decades(low, self.high, wanted)
        return found if self.kind == "log" else [0.0, *found]


def covering(values: Iterable[float], start: float, end: float, *, decades_from: float = 25.0) -> Scale:
    """A scale for positive values: linear from 0, or logarithmic where the largest is `decades_from` x the smallest.

    The ends are round values outside of all of them.
    """
    kept = [value for value in values if math.isfinite(value)]
    largest = max(kept, default=1.0) or 1.0
    smallest = min((value for value in kept if value > 0), default=largest)
    if largest / smallest < decades_from:
        step = _step(largest * 1.05, 5)
        return Scale(0.0, math.ceil(largest * 1.02 / step) * step, start, end)
    return Scale(_round_down(smallest), _round_up(largest), start, end, "log")


def along(values: Iterable[float], start: float, end: float) -> Scale:
    """A scale for the values of a setting, which may begin at 0 and may span decades."""
    kept = sorted(set(values))
    low, high = kept[0], kept[-1]
    if low == high:
        return Scale(low - 1, high + 1, start, end)
    positive = [value for value in kept if value > 0]
    if low >= 0 and len(positive) > 1 and high / positive[0] >= 10:
        if low > 0:
            return Scale(low, high, start, end, "log")
        return Scale(0.0, high, start, end, "knee", positive[0])
    return Scale(low, high, start, end)


def _step(span: float, wanted: int) -> float:
    rough = span / max(wanted, 1)
    unit = 10.0 ** math.floor(math.log10(rough))
    return next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)


def _linear(low: float, high: float, wanted: int) -> list[float]:
    if high <= low:
        return [low]
    step = _step(high - low, wanted)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float, wanted: int) -> list[float]:
    powers = range(math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9) + 1)
    found: list[float] = []
    for factors in ((1,), (1, 3), (1, 2, 5)):
        finer = [f * 10.0**p for p in powers for f in factors if low * 0.999 <= f * 10.0**p <= high * 1.001]
        if found and len(finer) > wanted + 1:
            break
        found = finer
    if len(found) < 2:
        return [low, high]
    return found[:: max(1, math.ceil(len(found) / (wanted + 2)))]


def _round_down(value: float) -> float:
    unit = 10.0 ** math.floor(math.log10(value))
    return max(f * unit for f in (1, 2, 5) if f * unit <= value * 1.0001)


def _round_up(value: float) -> float:
    unit = 10.0 ** math.floor(math.log10(value))
    return min(f * unit for f in (1, 2, 5, 10, 20) if f * unit >= value * 1.001)
