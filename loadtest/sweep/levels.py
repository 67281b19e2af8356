"""What turns say of their settings, and which turns were disturbed by something else.

A turn's p99, as a logarithm, is taken to be its setting's level plus what its round did to all. On a machine that
others use too, now and then a single turn is ten times as slow as that, and it says nothing about its setting. To
find those the fit is Huber's: what lies far from what is expected counts by its sign more than by its size (Huber,
Robust Statistics, 1981, chapter 7; k = 1.345 loses 5 % where nothing is disturbed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Floats = np.ndarray[Any, np.dtype[np.float64]]

HUBER_K = 1.345
LEAST_SCALE = 0.02  # natural logarithm: turns that agree within 2 % are no reason to doubt one that is 5 % off
NORMAL_MAD = 0.6745  # the median absolute deviation of a normal distribution of deviation 1
DEGREES = 4  # with fewer left over, the spread of turns around what is expected of them says nothing
FAR, TIMES = 4.0, 1.5  # of the scale, and as slow as is expected: such a turn was disturbed
MOST_STEPS = 50
_ALONE = 1e-3
_WEAK = 1e-6
"""What a round does to all is taken to be 0 where nothing tells it from its settings' levels."""


@dataclass(frozen=True)
class Levels:
    """What turns say of their settings.

    `levels`, [settings]: natural logarithms. `by_turns`, [settings]: the variance of the levels around their common
    mean, by how far turns lie from what is expected; None where too few are left over. `left`, [turns]: how far each
    lies from what is expected, and `scale` how far they do commonly.
    """

    levels: Floats
    by_turns: Floats | None
    left: Floats
    scale: float
    freedom: int

    def times(self, turn: int) -> float:
        """How many times as slow as expected it was."""
        return float(np.exp(self.left[turn]))

    def is_far(self, turn: int) -> bool:
        """Whether it was so slow that something else must have disturbed it."""
        return self.freedom >= DEGREES and self.left[turn] > FAR * self.scale and self.times(turn) > TIMES


def fit(single: Floats, settings: Sequence[int], rounds: Sequence[int]) -> Levels:
    """The levels of settings 0, 1, … from turns.

    `single`, [turns]: the logarithm of each turn's p99. `settings` and `rounds`, [turns]: whose it is, both counted
    from 0.
    """
    known = max(settings) + 1
    design = np.zeros((len(single), known + max(rounds) + 1))
    turns = np.arange(len(single))
    design[turns, settings] = design[turns, known + np.asarray(rounds)] = 1.0
    freedom = len(single) - int(np.linalg.matrix_rank(design))
    # A turn that alone tells a setting's level lies where it is expected: it does not tell how turns differ.
    free = 1.0 - np.diag(design @ _solver(design, np.ones(len(single)), known))
    telling = free > _ALONE
    weights: Floats = np.ones(len(single))
    found, left, scale = design.T @ single, single, LEAST_SCALE
    for _ in range(MOST_STEPS):
        found = _solver(design, weights, known) @ single
        left = single - design @ found
        spread = np.median(np.abs(left[telling]) / np.sqrt(free[telling])) / NORMAL_MAD if telling.any() else 0.0
        scale = max(LEAST_SCALE, float(spread))
        before, weights = weights, np.minimum(1.0, HUBER_K * scale / np.maximum(np.abs(left), 1e-12))
        if np.allclose(before, weights, atol=1e-4):
            break
    return Levels(found[:known], _by_turns(design, single, freedom, known), left, scale, freedom)


def _solver(design: Floats, weights: Floats, known: int) -> Floats:
    """The matrix that brings turns to settings' levels and rounds' shares, by weighted least squares."""
    weak = np.diag([0.0] * known + [_WEAK] * (design.shape[1] - known))
    weighed = design.T * weights
    found: Floats = np.linalg.pinv(weighed @ design + weak, hermitian=True) @ weighed
    return found


def _by_turns(design: Floats, single: Floats, freedom: int, known: int) -> Floats | None:
    """The variance of each level around the mean of all, by least squares."""
    if freedom < DEGREES or known < 2:
        return None
    solve = _solver(design, np.ones(len(single)), known)
    left = single - design @ (solve @ single)
    rows = (np.eye(known) - 1.0 / known) @ solve[:known]
    found: Floats = float(left @ left) / freedom * np.sum(rows**2, axis=1)
    return found
