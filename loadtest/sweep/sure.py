"""How sure each verdict of a sweep has to be, so that all of them together are as sure as was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.statistics.binomial import needed
from loadtest.statistics.looks import Looks


@dataclass(frozen=True)
class Sure:
    """A verdict is looked at after every turn, and settings (with `--find-max` their rates too) compete for the pass.

    So `confidence` is shared out before the first turn: equally among the `shares` that compete at most (Bonferroni),
    and within one among its looks, `turns` of them at most. Where settings may be confirmed by a turn of their own,
    so many `confirmations` at most, half of what is allowed is for these turns.
    """

    confidence: float
    shares: int = 1
    turns: int = 1
    confirmations: int = 0

    @property
    def of_one(self) -> float:
        """How sure all looks at one setting (or at one rate of one) have to be together, while it competes."""
        return 1 - (1 - self.confidence) / self.shares / (2 if self.confirmations else 1)

    @property
    def of_confirmation(self) -> float:
        """How sure a turn of its own has to be."""
        return 1 - (1 - self.confidence) / 2 / max(1, self.confirmations)

    def at(self, turns: int) -> float:
        """How sure the look after so many believable turns has to be; there is none after more than planned."""
        looks = Looks(tuple(range(1, self.turns + 1)))
        return looks.confidence(min(max(turns, 1), self.turns) - 1, self.of_one)


def fewest(good: Sequence[float], confidence: float) -> int:
    """The fewest requests that can show each of these shares of them to be good: that is when none is bad.

    A share of 1 can be shown by no number, and is left out.
    """
    return max((needed(0, share, confidence) for share in good if share < 1), default=0)
