"""Which settings to measure next, by what is known so far: no grid, and the same answer for the same evidence."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from loadtest.sweep.axes import Axis, Scale, delay_range, first_settings
from loadtest.sweep.evidence import Standing, Standings
from loadtest.sweep.setting import Setting

NEW_A_ROUND = 2
EXPLORE = 0.6  # of the turns; the rest is for telling apart what was found, where that is needed
NARROWEST = 0.012  # of the scale from 0 to 1: nearer points are told apart by nothing
INNER = 0.25  # a new point lies no nearer to its neighbours than this share of the way
FIRST, BENDS = "to begin with", "the curve may go lower there"
AGAIN, BEST = "not told apart from the best", "the best"
RETRY = "its turns so far could not be believed"
CONFIRM = "to show that it meets the objective"
NOTHING = 1.001  # a thousandth of a p99
ONCE = 1.25  # a setting that was measured only once is worse when it surely is by a quarter


@dataclass(frozen=True)
class Limits:
    """`replicates` a setting at most (the best may have more), `turns` altogether; `tie` is a share of the p99.

    `settings` is how many may compete at most: the confidence of the verdicts is shared out among them. `confirming`
    is how many turns the longer one takes the place of that shows of a single setting that it meets the objective.
    """

    replicates: int
    turns: int
    tie: float = 0.02
    settings: int = 10_000
    confirming: int = 0


@dataclass(frozen=True)
class Next:
    """The settings of the next round and why each; none: it is over, and `why` says so."""

    settings: tuple[tuple[Setting, str], ...]
    why: str = ""


def next_round(
    axes: Sequence[Axis], standings: Standings | None, used: int, limits: Limits, *,
    given_up: Collection[Setting] = (), unbelieved: Sequence[Setting] = (), hopeful: Setting | None = None,
) -> Next:  # fmt: skip
    """What to measure now, after `used` turns.

    Of the `unbelieved` no turn could be believed so far; those `given_up` have had their chances. No good setting is
    known to meet the objective, and the `hopeful` one may: the end is kept for a turn of its own, since a best that
    may not be taken is of no use. Turns in which settings compete seldom show it: each is short, and what one says
    after another is shared out among all that compete.
    """
    left = limits.turns - used - (limits.confirming if hopeful is not None else 0)
    planned = _round(axes, standings, used, left, limits, given_up=given_up, unbelieved=unbelieved)
    if planned.settings or hopeful is None:
        return planned
    return Next(((hopeful, CONFIRM),), planned.why)


def _round(
    axes: Sequence[Axis], standings: Standings | None, used: int, left: int, limits: Limits, *,
    given_up: Collection[Setting], unbelieved: Sequence[Setting],
) -> Next:  # fmt: skip
    """The settings that compete now, `left` turns at most."""
    retried = tuple((setting, RETRY) for setting in unbelieved)
    if standings is None and used:
        return Next(retried[: max(0, left)], "" if left > 0 and retried else "no turn could be believed")
    if standings is None:
        return Next(tuple((setting, FIRST) for setting in first_settings(axes)))
    best = standings.best
    again = [one for one in standings.found[1:] if not is_worse(one) and not is_tied(one, limits.tie)
             and min(one.turns, best.turns) < limits.replicates]  # fmt: skip
    new = new_points(axes, standings, limits.tie) if used < EXPLORE * limits.turns or not again else []
    chosen: list[tuple[Setting, str]] = [(best.setting, BEST), *retried]
    fresh = [setting for setting in new if setting not in {*given_up, *unbelieved}]
    tried = len(standings.found) + len({*given_up, *unbelieved})
    chosen += [(setting, BENDS) for setting in fresh[: max(0, limits.settings - tried)]]
    chosen += [(one.setting, AGAIN) for one in again]
    if len(chosen) == 1:
        others = [one for one in standings.found[1:] if not is_worse(one)]
        why = "the best is told apart from all others" if not others else "the best ones are as good as each other"
        if any(not is_tied(one, limits.tie) for one in others):
            why = f"every setting that is not told apart from the best was measured {limits.replicates} times"
        return Next((), why)
    if left < min(2, len(chosen)):
        return Next((), "the budget is spent")
    return Next(tuple(chosen[:left]))


def is_worse(one: Standing) -> bool:
    """Whether the best is surely better: by more than nothing, or after a single turn by more than ONCE."""
    return one.low > (NOTHING if one.turns > 1 else ONCE)


def is_tied(one: Standing, tie: float) -> bool:
    """Whether it is surely as good as the best, within `tie`; a single turn never says so."""
    return one.turns > 1 and one.high < 1.0 + tie


def new_points(axes: Sequence[Axis], standings: Standings, tie: float) -> list[Setting]:
    """Delays where a curve may go lower than the best by more than `tie`, those that promise most first."""
    axis = delay_range(axes)
    if axis is None:
        return []
    scale = Scale(axis.low, axis.high)
    curves: dict[object, list[Standing]] = {}
    for one in standings.found:
        curves.setdefault(one.setting.arm, []).append(one)
    promises: list[tuple[float, Setting]] = []
    for curve in curves.values():
        curve.sort(key=lambda one: one.setting.delay_us or 0)
        promises += _promises(curve, scale, standings.best.level, math.log1p(tie))
    promises.sort(key=lambda promise: -promise[0])
    return [setting for _, setting in promises[:NEW_A_ROUND]]


def _promises(curve: Sequence[Standing], scale: Scale, best: float, least: float) -> list[tuple[float, Setting]]:
    """How much lower than the best each gap between neighbours of a curve may go, and where."""
    places = [scale.place(one.setting.delay_us or 0) for one in curve]
    found = []
    for left in range(len(curve) - 1):
        right = left + 1
        if places[right] - places[left] < 2 * NARROWEST:
            continue
        low, where = _lowest(places, [one.level for one in curve], left)
        promise = best - low
        if 1.0 in {curve[left].ratio, curve[right].ratio}:
            # Beside the best a curve may fall faster than lines tell: its neighbours have to be nearly as good.
            promise = max(promise, abs(curve[left].level - curve[right].level) / 2)
        share = min(1 - INNER, max(INNER, (where - places[left]) / (places[right] - places[left])))
        delay_us = scale.delay_us(places[left] + share * (places[right] - places[left]))
        is_new = delay_us not in {curve[left].setting.delay_us, curve[right].setting.delay_us}
        if promise > least and is_new:
            found.append((promise, curve[left].setting.at(delay_us)))
    return found


def _lowest(places: Sequence[float], levels: Sequence[float], left: int) -> tuple[float, float]:
    """How low a curve may go between two neighbours, and where: between the lines through those beside them.

    That is a bound where the curve bends upwards. Where it bends downwards, a line would lie above a neighbour: it
    says nothing then, and half of the step between the two is what the curve is trusted to do.
    """
    right = left + 1
    width = places[right] - places[left]
    lines = []
    if left > 0:
        slope = (levels[left] - levels[left - 1]) / (places[left] - places[left - 1])
        if levels[left] + slope * width < levels[right]:
            lines.append((places[left], levels[left], slope))
    if right + 1 < len(places):
        slope = (levels[right + 1] - levels[right]) / (places[right + 1] - places[right])
        if levels[right] - slope * width < levels[left]:
            lines.append((places[right], levels[right], slope))
    middle = places[left] + width / 2
    if len(lines) == 2:
        (x1, y1, s1), (x2, y2, s2) = lines
        if s2 > s1:
            where = (y1 - s1 * x1 - y2 + s2 * x2) / (s2 - s1)
            if places[left] < where < places[right]:
                return y1 + s1 * (where - x1), where
    if len(lines) == 1:
        [(x, y, slope)] = lines
        end = places[left] if slope > 0 else places[right]
        return (y + slope * (end - x) + min(levels[left], levels[right])) / 2, middle
    return min(levels[left], levels[right]) - abs(levels[left] - levels[right]) / 2, middle
