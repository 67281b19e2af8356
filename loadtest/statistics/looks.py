"""When a run that goes on until it is decided is looked at, and how sure each look has to be.

Who looks again and again, and stops at the first pass, passes too often. So the looks are planned before the run, and
the allowed probability of a wrong verdict, 1 - confidence, is shared out among them: by the look at the share s of
the budget, s squared of it may be spent. Source: Lan and DeMets (1983), "Discrete sequential boundaries for clinical
trials", Biometrika 70; the power family is that of Kim and DeMets (1987), Biometrika 74. What a look may spend is
used as if the looks had nothing in common (Bonferroni), which is a little stricter than needed, and holds for any
dependence between them, for looks that come a little early or late, and for looks that are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

POWER = 2
"""How late the probability is spent: a later look is worth more than an early one."""


@dataclass(frozen=True)
class Looks:
    """After how many requests a run is judged: `at` ascends, and its last is the budget. Planned before the run."""

    at: tuple[int, ...]

    def __post_init__(self) -> None:
        """Raises ValueError for looks that do not ascend."""
        if not self.at or self.at[0] < 1 or any(a >= b for a, b in zip(self.at, self.at[1:], strict=False)):
            raise ValueError(f"looks ascend from 1 or more: {self.at}")

    @classmethod
    def plan(cls, budget: int, first: int = 0) -> Looks:
        """Looks that halve backwards from `budget` requests, none before `first` (0: a quarter of the budget).

        What happens more seldom than some ten times before the first look is not seen by it.
        """
        least = max(first or budget // 4, 1)
        at = [budget]
        while at[-1] // 2 >= least:
            at.append(at[-1] // 2)
        return cls(tuple(reversed(at)))

    def __len__(self) -> int:
        return len(self.at)

    def confidence(self, look: int, confidence: float = 0.99) -> float:
        """How sure look number `look` (from 0) has to be, so that all of them together are `confidence` sure."""
        before = self.at[look - 1] if look else 0
        spent: float = (self.at[look] ** POWER - before**POWER) / self.at[-1] ** POWER
        return 1 - (1 - confidence) * spent
