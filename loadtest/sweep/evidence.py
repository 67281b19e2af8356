"""What was measured: one turn after the other, and what all of them together say of the settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from loadtest.sweep.levels import Levels, fit
from loadtest.sweep.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Sequence

    Floats = np.ndarray[Any, np.dtype[np.float64]]
    Singles = np.ndarray[Any, np.dtype[np.float32]]
    Small = np.ndarray[Any, np.dtype[np.uint8]]
    Whole = np.ndarray[Any, np.dtype[np.int64]]

RESAMPLES = 300
WINDOWS = 10  # of a turn: long ones, since what disturbs a machine lasts
LEAST_WINDOW_US = 50_000
PERCENTILE = 0.99
TOP = 0.125  # of a turn, the slowest: resampling moves a p99 no further
TWICE = 2
AT_ONCE = 16  # resamples whose weights are spread over the requests at a time


@dataclass(frozen=True)
class Turn:
    """One setting measured once. `block` are turns that may be compared: the same arrivals in the same session.

    `due_us` and `latency_us`, [n], are of what counts: after the settle period and the warm-up, in due order, errors
    at the deadline. `weight` settles who is compared; a turn that cannot be believed has `valid` False.
    """

    setting: Setting
    block: tuple[int, int]
    due_us: Whole
    latency_us: Whole
    valid: bool = True


@dataclass(frozen=True)
class Standing:
    """How one setting stands to the best: `ratio` of their p99 with its interval, and over how many turns."""

    setting: Setting
    turns: int
    level: float  # natural logarithm of its p99 in µs, as if it had been measured in every round
    spread: float  # standard deviation of `level` - that of the best
    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class Standings:
    """All settings, the best first. `best` is the one that is compared with."""

    found: tuple[Standing, ...]
    confidence: float

    @property
    def best(self) -> Standing:
        """The lowest of those that were measured more than once, a little doubt counted against the rare ones."""
        return self.found[0]

    def of(self, setting: Setting) -> Standing | None:
        """Its standing, if it was measured."""
        return next((one for one in self.found if one.setting == setting), None)


@dataclass(frozen=True)
class Disturbed:
    """A turn that is `times` as slow as its setting's other turns, and its round's, tell."""

    setting: Setting
    round: int
    p99_ms: float
    times: float


@dataclass
class Evidence:
    """Every turn so far, of each the requests that its p99 can be among, and the logarithm of it in µs."""

    seed: int
    confidence: float = 0.99
    turns: list[Turn] = field(default_factory=list)
    _tops: list[_Top] = field(default_factory=list)
    _single: list[float] = field(default_factory=list)

    def add(self, turn: Turn) -> None:
        """Takes a turn in. One that cannot be believed, or has nothing that counts, is kept out."""
        if turn.valid and len(turn.latency_us):
            self.turns.append(turn)
            self._tops.append(_top_of(turn, self.seed))
            self._single.append(float(_log_percentile(self._tops[-1:])[0]))

    def pooled(self, setting: Setting) -> Whole:
        """All latencies of a setting, turn after turn, [n] µs."""
        mine = [turn.latency_us for turn in self.turns if turn.setting == setting]
        return np.concatenate(mine) if mine else np.zeros(0, np.int64)

    def count(self, setting: Setting) -> int:
        """In how many turns it was measured."""
        return sum(turn.setting == setting for turn in self.turns)

    def standings(self) -> Standings | None:
        """How the settings stand to each other; None before anything was measured.

        Two are compared by the p99 of all their turns together, of the rounds in which both were measured: what a
        round does to all is no difference. Turns that something else disturbed are left out (levels.py). How sure it
        is comes from resampled windows of time, the same ones for all turns of a round since they had the same
        arrivals; and from how far single turns lie from what is expected of them, whichever says less.
        """
        settings = list(dict.fromkeys(turn.setting for turn in self.turns))
        if not settings:
            return None
        levels, spreads = self._levels(settings)
        doubt = np.sqrt(np.maximum(np.diag(spreads), 0.0))
        # One turn may be luck: the best is one of those that were measured again, once there are any.
        counts = [self.count(setting) for setting in settings]
        again = np.array(counts) >= min(TWICE, max(counts))
        best = int(np.argmin(np.where(again, levels + doubt, np.inf)))
        z = NormalDist().inv_cdf(0.5 + self.confidence / 2)
        found = []
        for index, setting in enumerate(settings):
            variance = spreads[index, index] + spreads[best, best] - 2 * spreads[index, best]
            spread = float(np.sqrt(max(variance, 0.0)))
            behind = float(levels[index] - levels[best])
            low, high = (float(np.exp(behind + sign * z * spread)) for sign in (-1, 1))
            found.append(
                Standing(setting, counts[index], float(levels[index]), spread, float(np.exp(behind)), low, high)
            )
        order = sorted(range(len(found)), key=lambda index: (index != best, found[index].level))
        return Standings(tuple(found[index] for index in order), self.confidence)

    def disturbed(self) -> list[Disturbed]:
        """The turns that something else made slow, as it seems, in the order in which they were measured."""
        if not self.turns:
            return []
        told = self._fit(range(len(self.turns)))
        return [
            Disturbed(turn.setting, turn.block[0], float(np.exp(self._single[index])) / 1000, told.times(index))
            for index, turn in enumerate(self.turns)
            if told.is_far(index)
        ]

    def _kept(self) -> list[int]:
        """The turns that are compared: all but the disturbed ones, of a setting that has others."""
        told = self._fit(range(len(self.turns)))
        good = [index for index in range(len(self.turns)) if not told.is_far(index)]
        known = {self.turns[index].setting for index in good}
        return [i for i, turn in enumerate(self.turns) if turn.setting not in known or not told.is_far(i)]

    def _fit(self, turns: Sequence[int]) -> Levels:
        places: dict[Setting, int] = {}
        blocks: dict[tuple[int, int], int] = {}
        settings = [places.setdefault(self.turns[i].setting, len(places)) for i in turns]
        rounds = [blocks.setdefault(self.turns[i].block, len(blocks)) for i in turns]
        return fit(np.array([self._single[i] for i in turns]), settings, rounds)

    def _levels(self, settings: Sequence[Setting]) -> tuple[Floats, Floats]:
        """The level of every setting, and the covariance of their errors."""
        kept = self._kept()
        own = {setting: [i for i in kept if self.turns[i].setting == setting] for setting in settings}
        middle = max(settings, key=lambda setting: len(own[setting]))
        blocks = {self.turns[i].block for i in own[middle]}
        base = self._of(own[middle], None)
        levels = np.zeros((len(settings), 1 + RESAMPLES))
        for row, setting in enumerate(settings):
            both = {self.turns[i].block for i in own[setting]} & blocks
            # Without a round in common, as it is.
            levels[row] = self._of(own[setting], both or None)
            if both:
                levels[row] += base - self._of(own[middle], both)
        if len(settings) == 1:
            return levels[:, 0], np.zeros((1, 1))
        # What moves all settings alike is no reason for doubt about which is the best.
        spreads: Floats = np.cov(levels[:, 1:] - levels[:, 1:].mean(axis=0))
        by_turns = self._fit([i for setting in settings for i in own[setting]]).by_turns
        if by_turns is None:
            return levels[:, 0], spreads
        larger: Floats = np.maximum(1.0, np.sqrt(by_turns / np.maximum(np.diag(spreads), 1e-18)))
        return levels[:, 0], spreads * np.outer(larger, larger)

    def _of(self, turns: Sequence[int], blocks: set[tuple[int, int]] | None) -> Floats:
        """Of these turns together, those of some blocks alone."""
        return _log_percentile([self._tops[i] for i in turns if blocks is None or self.turns[i].block in blocks])


@dataclass(frozen=True)
class _Top:
    """The slowest requests of a turn, slowest first, [n], the window of each, and what windows count in resamples.

    `weights` are [1 + RESAMPLES, windows].

    The first row is the turn as it was. `total` is the weight of all its requests. Weights are small whole numbers,
    and sums of them exact in 32 bits up to 16 million.
    """

    latency_us: Whole
    window: Small
    weights: Singles
    total: Floats


def _top_of(turn: Turn, seed: int) -> _Top:
    """Windows are drawn by the turn's block, so that turns of one block get the same."""
    span_us = int(turn.due_us[-1]) + 1
    window_us = max(LEAST_WINDOW_US, span_us // WINDOWS)
    window = turn.due_us // window_us
    count = int(window[-1]) + 1
    random = np.random.default_rng([seed, *turn.block])
    drawn = random.poisson(1.0, (RESAMPLES, WINDOWS + 1))[:, :count]  # no turn of a block has more windows
    weights: Floats = np.vstack([np.ones(count), drawn])
    order = np.argsort(turn.latency_us)[::-1]
    top = order[: max(1, round(len(order) * TOP))]
    requests: Floats = np.bincount(window, minlength=count).astype(np.float64)
    total: Floats = np.matmul(weights, requests)
    return _Top(turn.latency_us[top], window[top].astype(np.uint8), weights.astype(np.float32), total)


def _log_percentile(tops: Sequence[_Top]) -> Floats:
    """The logarithm of the p99 of several turns together, [1 + RESAMPLES]."""
    latencies = np.concatenate([top.latency_us for top in tops])
    order = np.argsort(latencies)[::-1]
    before = np.cumsum([0, *(top.weights.shape[1] for top in tops)])
    windows = [top.window.astype(np.int64) + start for top, start in zip(tops, before[:-1], strict=True)]
    window = np.concatenate(windows)[order]
    weights = np.concatenate([top.weights for top in tops], axis=1)
    allowed = (1 - PERCENTILE) * np.sum([top.total for top in tops], axis=0)
    first = np.empty(len(weights), np.int64)
    for start in range(0, len(weights), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        above = np.cumsum(weights[part][:, window], axis=1)
        first[part] = (above <= allowed[part, None] + 1e-9).sum(axis=1)
    first = np.minimum(first, len(order) - 1)
    found: Floats = np.log(np.maximum(latencies[order[first]], 1).astype(np.float64))
    return found
