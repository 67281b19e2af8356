"""What a run came to: counts by rule and by class of cause, as JSON and as a page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from oracle_causes import classify
from oracle_judge import Judged

NOT_JUDGED = {
    11: "Python models may have optional inputs; the backends that refuse them are not there",
    20: "2.51 does not know model_metrics, and refuses the text (rule 1)",
    23: "resources are looked at only under --rate-limit=execution_count",
    31: "all versions have one config, so the latest and the pinned one never differ",
    32: "TensorRT is not there",
}
"""What the embedded server accepts always, refuses always, or lacks."""

JUDGED = tuple(rule for rule in range(1, 34) if rule not in NOT_JUDGED)
HITS = 20


@dataclass
class Row:
    """One rule: how often the server refused because of it, how often it took what touches it, and what lint said."""

    refused: int = 0
    refused_by_both: int = 0
    same_cause: int = 0
    accepted: int = 0
    accepted_by_both: int = 0


@dataclass
class Totals:
    """Counts over many mutants."""

    seeds: list[str] = field(default_factory=list)
    mutants: int = 0
    asked: int = 0
    accepted: int = 0
    models: int = 0
    seconds: float = 0.0
    kept: Counter[str] = field(default_factory=Counter)
    ended: list[str] = field(default_factory=list)
    rows: dict[int, Row] = field(default_factory=lambda: {rule: Row() for rule in range(1, 34)})
    causes: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    disagreements: Counter[str] = field(default_factory=Counter)
    mutants_that_disagree: int = 0

    def add(self, judged: Judged) -> None:
        """Count one mutant."""
        self.mutants += 1
        if judged.kept:
            self.kept[f"{judged.kept}; lint {'refuses' if judged.kept_and_refused else 'accepts'}"] += 1
            return
        if judged.ended:
            how = "waits" if judged.ended.startswith("waits") else "ends"
            self.ended.append(
                f"{judged.mutant.key} ({', '.join(c.what for c in judged.mutant.changes)}): the server {how}, "
                f"{judged.ended}"
            )
            return
        self.asked += 1
        self.accepted += judged.is_accepted
        self.mutants_that_disagree += bool(judged.disagreements)
        for opinion in judged.opinions:
            self.models += 1
            server, lint = ("refuses" if it else "accepts" for it in (opinion.server_refuses, opinion.is_refused))
            self.verdicts[f"server {server}, lint {lint}"] += 1
            if opinion.disagreement:
                self.disagreements[
                    f"{opinion.cause if opinion.server_refuses else 'accepted'}: {opinion.disagreement}"
                ] += 1
            if opinion.server_refuses:
                self.causes[opinion.cause] += 1
                found = classify(opinion.reason)
                for rule in found.rules if found else ():
                    row = self.rows[rule]
                    row.refused += 1
                    row.refused_by_both += opinion.is_refused
                    row.same_cause += not opinion.disagreement
        if 5 in judged.refused_rules():
            row = self.rows[5]
            row.refused += 1
            row.refused_by_both += all(o.is_refused for o in judged.opinions if o.server_refuses)
            row.same_cause += not judged.disagreements
        agree = not any(o.is_refused and not o.server_refuses for o in judged.opinions)
        for rule in judged.accepted_rules():
            self.rows[rule].accepted += 1
            self.rows[rule].accepted_by_both += agree

    @property
    def share(self) -> float:
        """How much of what was asked the server accepted whole."""
        return self.accepted / self.asked if self.asked else 0.0

    def rare(self) -> list[str]:
        """Rules that were hit too seldom, and which way."""
        return [
            f"{rule} {way}"
            for rule in JUDGED
            for way, hits in (("refused", self.rows[rule].refused), ("accepted", self.rows[rule].accepted))
            if hits < HITS
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything, for `--json`."""
        return {
            "seeds": self.seeds, "mutants": self.mutants, "asked": self.asked, "accepted": self.accepted,
            "accepted_share": round(self.share, 3), "models": self.models, "seconds": round(self.seconds, 1),
            "mutants_that_disagree": self.mutants_that_disagree, "disagreements": dict(sorted(self.disagreements.items())),
            "verdicts": dict(sorted(self.verdicts.items())), "causes": dict(self.causes.most_common()),
            "kept_away": dict(sorted(self.kept.items())), "ended_the_server": self.ended,
            "rules": {str(rule): vars(row) for rule, row in self.rows.items()}, "hit_too_seldom": self.rare(),
        }  # fmt: skip
