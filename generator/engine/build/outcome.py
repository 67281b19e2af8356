"""What became of a job: the engines that were tried for it, and what there is now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from generator.engine.build.candidates.choices import Choice
from generator.engine.build.jobs import Job
from generator.engine.install.store import Installed
from generator.problems import Problem

if TYPE_CHECKING:
    from generator.engine.validate.verdict import Verdict

Status = Literal["current", "installed", "refused", "prepared", "looked"]


@dataclass(frozen=True)
class Row:
    """One engine that was tried: its verdict, or why there is none; latency in µs by batch size.

    `absent`: its package or GPU was not here, and one day may be. `activation_bytes`: what each of its execution
    contexts takes on the GPU, where it says so.
    """

    choice: Choice
    verdict: Verdict | None = None
    why: str = ""
    latency: Mapping[int, Any] = field(default_factory=dict)
    size_bytes: int = 0
    absent: bool = False
    activation_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        """For the manifest and `--json`."""
        return {
            "engine": self.choice.engine, "precision": self.choice.precision, "served": self.choice.served,
            "passed": None if self.verdict is None else self.verdict.passed, "why": self.why,
            "bytes": self.size_bytes, "latency_us": {str(size): value for size, value in self.latency.items()},
            **({"absent": True} if self.absent else {}),
            **({} if self.activation_bytes is None else {"activation_bytes": self.activation_bytes}),
        }  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a job. `rows` are the engines that were tried; `where` is what was written, a folder."""

    job: Job
    status: Status
    problems: Sequence[Problem] = ()
    rows: Sequence[Row] = ()
    chosen: Choice | None = None
    where: Path | None = None
    installed: Installed | None = None

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        verdicts = {row.choice.title: row.verdict.to_json() for row in self.rows if row.verdict is not None}
        return {
            "target": self.job.plan.target.name, "model": self.job.model.name, "version": self.job.version,
            "status": self.status, "engine": None if self.chosen is None else self.chosen.engine,
            "precision": None if self.chosen is None else self.chosen.precision,
            "where": None if self.where is None else str(self.where),
            "tried": [row.to_json() for row in self.rows], "verdicts": verdicts,
            "problems": [
                {"code": p.code, "severity": str(p.severity), "field": p.field, "message": p.message, "hint": p.hint}
                for p in self.problems
            ],
        }  # fmt: skip
