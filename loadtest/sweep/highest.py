"""The highest rate at which a setting still meets its objective: bracketed by doubling, then bisected."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from loadtest.sweep.axes import Axis, first_settings
from loadtest.sweep.evidence import Standing, Standings
from loadtest.sweep.search import BENDS, FIRST, Limits, Next, new_points
from loadtest.sweep.setting import Setting

Outcome = Literal["pass", "fail", "undecided", "invalid"]
LOWEST_RPS, FACTOR = 1.0, 2.0
PRECISION = 1.05  # the lowest rate that fails is no more than this times the highest that passes
STEP = 0.1  # another delay is tried where it may carry so much more
NEARLY = 0.9
RATES = 14  # of one setting at most: its verdicts share the confidence
TRIES = 3  # at one rate; what is undecided after them, or was never to be believed, is not shown to pass
_AGAIN = {"undecided", "invalid"}
SEARCHING = "to bracket its highest rate"


@dataclass(frozen=True)
class Bracket:
    """What is known of one setting: `low` passes (0: nothing does so far), `high` does not (None: all have passed).

    `fails` is the lowest rate that is shown to fail: `high`, unless that one stayed undecided. `limit` says why the
    search cannot go higher where that is not the server's doing. `next_rps` None: it is done.
    """

    setting: Setting
    low: float
    high: float | None
    next_rps: float | None
    limit: str = ""
    fails: float | None = None

    @property
    def value(self) -> float:
        """The highest rate that passes."""
        return self.low


def bracket(setting: Setting, verdicts: Mapping[float, tuple[Outcome, int]], start_rps: float, limit: str) -> Bracket:
    """From the verdict at each rate with the number of turns behind it. `limit`: why a turn could not be believed."""
    fails = min((rate for rate, (verdict, _) in verdicts.items() if verdict == "fail"), default=None)
    found = _searched(setting, verdicts, start_rps, limit)
    return replace(found, fails=fails)


def _searched(
    setting: Setting, verdicts: Mapping[float, tuple[Outcome, int]], start_rps: float, limit: str
) -> Bracket:  # fmt: skip
    """Where the search is, and what it tries next."""
    passed = [rate for rate, (verdict, _) in verdicts.items() if verdict == "pass"]
    invalid = [rate for rate, (verdict, _) in verdicts.items() if verdict == "invalid"]
    failed = [rate for rate, (verdict, turns) in verdicts.items()
              if verdict == "fail" or (verdict in _AGAIN and turns >= TRIES)]  # fmt: skip
    high = min(failed, default=None)
    low = max((rate for rate in passed if high is None or rate < high), default=0.0)
    said = limit if invalid and high in invalid else ""
    open_ = [rate for rate, (verdict, turns) in verdicts.items()
             if verdict in _AGAIN and turns < TRIES and low < rate < (high or math.inf)]  # fmt: skip
    if open_:
        return Bracket(setting, low, high, open_[0], said)
    if len(verdicts) >= RATES:
        return Bracket(setting, low, high, None, said)
    if said and low:
        return Bracket(setting, low, high, None, said)  # what the sender cannot do is not looked for
    if high is None:
        return Bracket(setting, low, None, low * FACTOR if low else start_rps, said)
    if not low:
        lower = high / FACTOR
        return Bracket(setting, 0.0, high, lower if lower >= LOWEST_RPS else None, said)
    return Bracket(setting, low, high, None if high <= low * PRECISION else math.sqrt(low * high), said)


def next_rates(
    axes: Sequence[Axis], brackets: Sequence[Bracket], turns: Mapping[Setting, int], limits: Limits, *,
    confidence: float, start_rps: float,
) -> tuple[Next, dict[Setting, float]]:  # fmt: skip
    """What to measure now, and at which rate each. `turns` are how often each setting was measured."""
    used = sum(turns.values())
    if not brackets:
        settings = first_settings(axes)
        return Next(tuple((setting, FIRST) for setting in settings)), dict.fromkeys(settings, start_rps)
    if limits.turns - used < 1:
        return Next((), "the budget is spent"), {}
    standings = standings_of(brackets, turns, confidence)
    best = next(one for one in brackets if one.setting == standings.best.setting)
    going = [one for one in brackets if one.next_rps is not None and not is_beaten(one, best)]
    rates = {one.setting: one.next_rps for one in going if one.next_rps is not None}
    chosen = [(one.setting, SEARCHING) for one in going]
    if not going and best.low:
        fresh = [one for one in new_points(axes, standings, STEP) if one not in turns]
        fresh = fresh[: max(0, limits.settings - len(turns))]
        chosen += [(setting, BENDS) for setting in fresh]
        rates |= dict.fromkeys(fresh, best.low)  # it has to do at least what the best does
    if not chosen:
        return Next((), "no setting can still be shown to carry more"), {}
    return Next(tuple(chosen[: limits.turns - used])), rates


def is_beaten(one: Bracket, best: Bracket) -> bool:
    """Whether it fails at a rate that the best passes, and that is the server's doing."""
    return one.high is not None and one.high <= best.low and not one.limit


def standings_of(brackets: Sequence[Bracket], turns: Mapping[Setting, int], confidence: float) -> Standings:
    """As of latencies: the level is the logarithm of 1 / rate, so that the lowest is the best."""
    best = max(brackets, key=lambda one: (one.low, one.high or math.inf))
    most = best.low or LOWEST_RPS
    found = []
    for one in brackets:
        low, high = one.low or LOWEST_RPS / FACTOR, one.high or math.inf
        # Of one that only failed so far it is nearly what it failed at, so that its neighbours are not looked for.
        level = -math.log(one.low or (one.high or LOWEST_RPS) * NEARLY)
        ratio = most / low
        doubt = math.log(high / low) / 2 if math.isfinite(high) else math.log(FACTOR)
        surely = most / high if math.isfinite(high) else 0.0
        count = turns.get(one.setting, 0)
        found.append(Standing(one.setting, count, level, doubt, ratio, surely, (best.high or math.inf) / low))
    found.sort(key=lambda one: (one.setting != best.setting, one.level))
    return Standings(tuple(found), confidence)
