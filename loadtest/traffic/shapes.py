"""How the rate goes over a run: flat, rising, in bursts, or like a day; and when arrivals come at such a rate.

A Poisson process of any rate is one of rate 1 seen through a clock that runs as fast as requests come: the i-th
arrival is where the rate's integral reaches the i-th arrival of rate 1. So the same seed gives the same arrivals
at another rate, moved; and a longer run begins like a shorter one where the rate does not depend on the length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loadtest.traffic.problem import refused

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float64]]

_CELLS_A_DAY = 1 << 16  # of a day, within which its rate is flat: 0.5 ms of a day that is pressed into half a minute
_MOST_DAYS, _MOST_TIMES, _SHORTEST_PERIOD_S = 100, 1000, 0.1
_LONGEST_PERIOD_S = 10.0  # of bursts when nothing is said


@dataclass(frozen=True)
class Shape:
    """A rate over time. `expected` requests come on average, `peak_rps` is the highest rate.

    `when` takes the arrivals of a process of rate 1, ascending, below `expected`; it gives seconds from the start.
    `settings` are those that it was made with, defaults included.
    """

    expected: float
    peak_rps: float
    when: Callable[[Floats], Floats]
    settings: Mapping[str, float]


def flat(rate_rps: float, duration_s: float) -> Shape:
    """Always `rate_rps`."""
    return Shape(rate_rps * duration_s, rate_rps, lambda units: units / rate_rps, {})


def ramp(rate_rps: float, duration_s: float, *, from_rps: float = 0.0) -> Shape:
    """From `from_rps` (0 or more) at the start to `rate_rps` at the end, in a straight line."""
    import numpy as np

    _within("ramp", "from_rps", from_rps, 0.0, math.inf)
    slope = (rate_rps - from_rps) / duration_s

    def when(units: Floats) -> Floats:
        # The root of from*t + slope/2*t^2 = units, in the form that loses no digits where the slope is small.
        under = np.maximum(from_rps * from_rps + 2 * slope * units, 0.0)
        found: Floats = 2 * units / np.maximum(from_rps + np.sqrt(under), np.finfo(float).tiny)
        return found

    expected = (from_rps + rate_rps) / 2 * duration_s
    return Shape(expected, max(from_rps, rate_rps), when, {"from_rps": from_rps})


def burst(
    rate_rps: float,
    duration_s: float,
    *,
    times: float = 5.0,
    every_s: float | None = None,
    length_s: float | None = None,
) -> Shape:
    """`rate_rps`, and at the end of every `every_s` for `length_s` so many `times` as much.

    Without `every_s`: 10 s, but two bursts at least; without `length_s`, a tenth of that.
    """
    import numpy as np

    every_s = min(_LONGEST_PERIOD_S, duration_s / 2) if every_s is None else every_s
    _within("burst", "every_s", every_s, min(_SHORTEST_PERIOD_S, duration_s / 2), duration_s)
    length_s = every_s / 10 if length_s is None else length_s
    _within("burst", "length_s", length_s, every_s / 1000, every_s)
    _within("burst", "times", times, 1.0, _MOST_TIMES)
    starts = np.arange(math.ceil(duration_s / every_s) + 1) * every_s
    moments = np.column_stack([starts, starts + (every_s - length_s)]).ravel()
    rates = np.tile([rate_rps, rate_rps * times], len(starts))
    inside = moments < duration_s
    settings = {"times": times, "every_s": every_s, "length_s": length_s}
    return _of_steps(np.append(moments[inside], duration_s), rates[inside], settings)


def diurnal(rate_rps: float, duration_s: float, *, depth: float = 0.8, days: float = 1.0) -> Shape:
    """`rate_rps` on average over a whole day; so many `days`, each a sinusoid that begins at night.

    `depth` is how far the night lies below the average, and noon above: 0 to 1. The rate is flat within each of
    65,536 steps of a day, and the requests of each step are what the sinusoid has there.
    """
    import numpy as np

    _within("diurnal", "depth", depth, 0.0, 1.0)
    _within("diurnal", "days", days, 0.01, _MOST_DAYS)
    moments = np.linspace(0.0, duration_s, math.ceil(days * _CELLS_A_DAY) + 1)
    turn = 2 * math.pi * days / duration_s
    integral = rate_rps * (moments - depth * np.sin(turn * moments) / turn)
    rates = np.maximum(np.diff(integral), 0.0) / np.diff(moments)
    return _of_steps(moments, rates, {"depth": depth, "days": days})


def _of_steps(moments: Floats, rates: Floats, settings: Mapping[str, float]) -> Shape:
    """`rates[i]` from `moments[i]` to the next one. Moments ascend from 0 to the end of the run."""
    import numpy as np

    integral = np.concatenate([[0.0], np.cumsum(rates * np.diff(moments))])
    return Shape(
        float(integral[-1]), float(rates.max()), lambda units: np.interp(units, integral, moments), dict(settings)
    )


SHAPES: Mapping[str, tuple[Callable[..., Shape], tuple[str, ...]]] = {
    "poisson": (flat, ()),
    "constant": (flat, ()),
    "burst": (burst, ("times", "every_s", "length_s")),
    "ramp": (ramp, ("from_rps",)),
    "diurnal": (diurnal, ("depth", "days")),
}
"""Kind -> what makes its rate, and the names of its settings."""


def shape_of(kind: str, rate_rps: float, duration_s: float, settings: Mapping[str, Any]) -> Shape:
    """The rate of `kind`. Raises ProblemsError (TK853) for a setting that it does not have or cannot take."""
    make, known = SHAPES[kind]
    for name, value in settings.items():
        if name not in known:
            has = f"it has {', '.join(f'`{k}`' for k in known)}" if known else "it has none"
            raise refused("TK853", "--shape", f"arrivals `{kind}` have no setting `{name}`", has)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise refused(
                "TK853",
                "--shape",
                f"`{name}` of arrivals `{kind}` is {value!r}, and not a number",
                "give a number",
            )
    return make(rate_rps, duration_s, **{name: float(value) for name, value in settings.items()})


def _within(kind: str, name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        bounds = f"{low:g} or more" if math.isinf(high) else f"{low:g} to {high:g}"
        message = f"`{name}` of arrivals `{kind}` is {value:g}; in this run it can be {bounds}"
        raise refused("TK853", "--shape", message, f"give `{name}` a value within these bounds")
