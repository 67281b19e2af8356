"""The answer of the gate as plain data: for the manifest, for a table, and as findings of a build that fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from generator.engine.errors import Finding

# Of the gate's own rules: with another one the same answers may get another verdict, so that what was found by it is
# looked for anew.
FORMAT = 2


@dataclass(frozen=True)
class Check:
    """One thing that was held against a limit. `code` is that of the finding if it fails, `text` the sentence.

    `value`, `limit` and `fp32` (what FP32 has there) are for the table; empty where there is none.
    """

    code: str
    name: str
    passed: bool
    text: str
    value: str = ""
    limit: str = ""
    fp32: str = ""


@dataclass(frozen=True)
class Change:
    """Items whose answer is right with one engine and wrong with the other, by their place in the gate set."""

    lost: tuple[int, ...] = ()
    won: tuple[int, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What the gate says of an engine. `facts` are the measured figures, as JSON holds them."""

    precision: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    changed: Change = field(default_factory=Change)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the engine may be installed."""
        return all(check.passed for check in self.checks)

    def findings(self, hints: Sequence[str] = ()) -> tuple[Finding, ...]:
        """Of every check that failed; `hints` say what to try next, and stand with the first."""
        failed = [check for check in self.checks if not check.passed]
        hint = "\n".join(hints)
        return tuple(
            Finding(check.code, check.text, hint if index == 0 else "", "accuracy")
            for index, check in enumerate(failed)
        )

    def to_json(self) -> dict[str, Any]:
        """For engine.json: only what the inputs decide, and no time."""
        return {
            "precision": self.precision,
            "passed": self.passed,
            "checks": [
                {
                    "name": c.name,
                    "passed": c.passed,
                    "value": c.value,
                    "limit": c.limit,
                    "fp32": c.fp32,
                    "text": c.text,
                }
                for c in self.checks
            ],
            "notes": list(self.notes),
            "changed": {"lost": list(self.changed.lost), "won": list(self.changed.won)},
            **self.facts,
        }

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """A table: what, FP32's, the engine's, the limit, the verdict."""
        return [(c.name, c.fp32, c.value, c.limit, "ok" if c.passed else "FAILED") for c in self.checks]
