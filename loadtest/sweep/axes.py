"""What a sweep goes over: `--over` read, refused with a reason, or turned into the first settings."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from generator.collector import did_you_mean, names
from generator.problems import Problem, ProblemsError
from loadtest.run.problem import refused
from loadtest.sweep.setting import DELAY, INSTANCES, LAYOUT, MAX_BATCH, PREFERRED, Setting, Value, shown

AXES = (DELAY, INSTANCES, PREFERRED, MAX_BATCH, LAYOUT)
LAYOUTS = ("ensemble", "fused", "folded")
FEW, MANY = 6, 4  # points of a curve to begin with: of the only one, and of each where there are several
LONGEST_DELAY_US = 60_000_000  # a minute: beyond it no objective of a server is
MOST_INSTANCES, LARGEST_BATCH, MOST_ARMS, MOST_VALUES = 256, 65_536, 64, 200
GRAIN = 100.0  # a hundredth of the range is where its scale turns from linear to logarithmic
_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class Axis:
    """One thing to sweep: `values` that are listed, or (of the delay alone) everything from `low` to `high`."""

    name: str
    values: tuple[Value, ...] = ()
    low: int = 0
    high: int = 0

    @property
    def is_range(self) -> bool:
        """Whether points are chosen in it as the sweep goes on."""
        return not self.values

    def as_json(self) -> Any:
        """`[low, high]` under `from`, or the values."""
        if self.is_range:
            return {"from": self.low, "to": self.high}
        return [list(value) if isinstance(value, tuple) else value for value in self.values]


def read_axes(over: Sequence[str]) -> tuple[Axis, ...]:
    """The axes of `NAME=VALUES` as they were given. Raises ProblemsError with everything that is wrong with them."""
    axes: list[Axis] = []
    problems: list[Problem] = []
    for text in over:
        try:
            axis = _axis(text)
            if axis.name in {one.name for one in axes}:
                raise refused("TK880", f"--over {text}", f"`{axis.name}` is given twice", "list all its values")
        except ProblemsError as error:
            problems += error.problems
        else:
            axes.append(axis)
    if not over:
        axes.append(Axis(DELAY, low=0, high=10_000))
    arms = math.prod(len(axis.values) for axis in axes if not axis.is_range)
    if arms > MOST_ARMS and not problems:
        problems += refused(
            "TK881", "--over", f"{arms} combinations of listed values are more than {MOST_ARMS}",
            "list fewer, or sweep one thing after the other",
        ).problems  # fmt: skip
    if problems:
        raise ProblemsError(problems)
    return tuple(axes)


def _axis(text: str) -> Axis:
    name, equals, values = text.partition("=")
    where = f"--over {text}"
    if name not in AXES:
        raise refused("TK880", where, f"there is no `{name}` to sweep over; there are {names(AXES)}",
                      did_you_mean(name, list(AXES)))  # fmt: skip
    if not equals or not values.strip():
        raise refused("TK881", where, f"`{name}` has no values", _FORM[name])
    if any(not value.strip() for value in re.split("[,:/]", values)):
        raise refused("TK881", f"--over {name}", f"a value is missing in `{values}`", _FORM[name])
    if ":" in values:
        return _range(name, values, where)
    found = tuple(_value(name, value.strip(), where) for value in values.split(","))
    if len(set(found)) != len(found):
        twice = next(value for value in found if found.count(value) > 1)
        raise refused("TK881", where, f"{shown(twice)} is listed twice", "list every value once")
    if len(found) > MOST_VALUES:
        raise refused("TK881", where, f"{len(found)} values are more than {MOST_VALUES}", _FORM[name])
    return Axis(name, values=found)


_FORM = {
    DELAY: f"give a range in microseconds, `{DELAY}=0:10000`, or a list, `{DELAY}=0,500,1000`",
    INSTANCES: f"give a list, `{INSTANCES}=1,2,4`, or a range, `{INSTANCES}=1:4`",
    PREFERRED: f"give sizes with / between them, `{PREFERRED}=none,8,8/16/32`",
    MAX_BATCH: f"give a list, `{MAX_BATCH}=8,16,32`",
    LAYOUT: f"give some of {names(LAYOUTS)}: `{LAYOUT}=ensemble,fused`",
}


def _range(name: str, values: str, where: str) -> Axis:
    if name not in {DELAY, INSTANCES}:
        raise refused("TK881", where, f"`{name}` takes no range", _FORM[name])
    ends = [end.strip() for end in values.split(":")]
    if len(ends) != 2:
        raise refused("TK881", where, f"`{values}` is no range from one number to another", _FORM[name])
    low, high = (_whole(name, end, where) for end in ends)
    if low == high:
        raise refused("TK881", where, f"the range from {low} to {high} is one value", f"list it: `{name}={low}`")
    if low > high:
        raise refused("TK881", where, f"the range from {low} to {high} is empty", "put the smaller number first")
    if name == INSTANCES:
        return Axis(name, values=tuple(range(low, high + 1)))
    return Axis(name, low=low, high=high)


def _value(name: str, text: str, where: str) -> Value:
    if name == LAYOUT:
        if text not in LAYOUTS:
            raise refused("TK882", where, f"there is no layout `{text}`; there are {names(LAYOUTS)}",
                          did_you_mean(text, list(LAYOUTS)) or _FORM[name])  # fmt: skip
        return text
    if name == PREFERRED:
        if text == "none":
            return ()
        return tuple(sorted({_whole(name, size, where) for size in text.split("/")}))
    return _whole(name, text, where)


_BOUNDS = {DELAY: (0, LONGEST_DELAY_US), INSTANCES: (1, MOST_INSTANCES), PREFERRED: (1, LARGEST_BATCH),
           MAX_BATCH: (1, LARGEST_BATCH)}  # fmt: skip


def _whole(name: str, text: str, where: str) -> int:
    least, most = _BOUNDS[name]
    if not _NUMBER.fullmatch(text):
        kind = "negative" if re.fullmatch(r"-[0-9.]+", text) else "no whole number"
        raise refused("TK881" if kind != "negative" else "TK882", where, f"`{text}` is {kind}", _FORM[name])
    if not least <= int(text) <= most:
        raise refused("TK882", where, f"{text} is not from {least} to {most}", _FORM[name])
    return int(text)


def first_settings(axes: Sequence[Axis]) -> list[Setting]:
    """Where a sweep begins: every combination of listed values, with a few points of the delay's range each."""
    arms = math.prod(len(axis.values) for axis in axes if not axis.is_range)
    choices = [[(axis.name, value) for value in (axis.values or _spread(axis, FEW if arms == 1 else MANY))]
               for axis in axes]  # fmt: skip
    return [Setting(values) for values in itertools.product(*choices)]


def delay_range(axes: Sequence[Axis]) -> Axis | None:
    """The axis in which points are chosen, if there is one."""
    return next((axis for axis in axes if axis.is_range), None)


def _spread(axis: Axis, count: int) -> list[int]:
    scale = Scale(axis.low, axis.high)
    return sorted({scale.delay_us(place / (count - 1), digits=2) for place in range(count)})


@dataclass(frozen=True)
class Scale:
    """The delay's range as places from 0 to 1: linear near its low end, logarithmic beyond."""

    low: int
    high: int

    @property
    def _turn(self) -> float:
        return max(1.0, (self.high - self.low) / GRAIN)

    def place(self, delay_us: float) -> float:
        """Where a delay lies."""
        return math.log1p((delay_us - self.low) / self._turn) / math.log1p((self.high - self.low) / self._turn)

    def delay_us(self, place: float, digits: int = 3) -> int:
        """The delay at a place, with so many digits that mean something."""
        exact = self.low + self._turn * math.expm1(place * math.log1p((self.high - self.low) / self._turn))
        if place <= 0 or place >= 1:
            return self.low if place <= 0 else self.high
        step: int = 10 ** max(0, math.floor(math.log10(max(exact, 1.0))) + 1 - digits)
        return min(self.high, max(self.low, round(exact / step) * step))
