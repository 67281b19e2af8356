"""The engine that passed: what its engine.json says, and that it is put in its place."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from generator.engine.build.candidates.compiling import Built
from generator.engine.build.compare import Limits, worse
from generator.engine.build.gate.judge import Judge
from generator.engine.build.outcome import Outcome, Row
from generator.engine.build.record import Record
from generator.engine.errors import Finding
from generator.engine.install.write import install, manifest_of


def finished(
    one: Built, judge: Judge, graph: bytes, record: Record, *,
    why: str, against: Mapping[str, Any] | None, limits: Limits,
) -> Outcome:  # fmt: skip
    """Installs an engine that passed, unless it is worse than `against` or nothing serves it. Raises StageError."""
    job, row = record.job, next(row for row in record.rows if row.choice == one.choice)
    choice, place = one.choice, (job.plan.target.name, job.model.name, job.version)
    as_it_is = one.compiled.data == graph and choice.precision == "fp32"  # then no copy of it is kept
    tried = [tried.to_json() for tried in record.rows]
    manifest = manifest_of(
        place, job.key, {**job.request, "engine": choice.engine, "precision": choice.precision},
        engine=choice.engine, precision=choice.precision,
        file=None if as_it_is else (one.compiled.file, one.compiled.data), facts=_facts(one, row, judge),
        measured={
            "latency_us": row.to_json()["latency_us"], "tried": tried, "chosen": why,
            **({} if row.activation_bytes is None else {"activation_bytes": row.activation_bytes}),
        },
    )  # fmt: skip
    if row.verdict is not None:
        record.notes += [Finding("TK996", f"{choice.title}: {note}", "", "accuracy") for note in row.verdict.notes]
    found = worse(against, manifest, limits)
    if found:
        return Outcome(job, "refused", (*record.problems(), *job.problems(found)), record.rows, choice)
    if not one.served:
        record.notes.append(Finding("TK987", f"{choice.title} passes, and nothing serves it here", "", "engine"))
        return Outcome(job, "refused", record.problems(), record.rows, choice)
    record.tell("installing")
    there = install(record.project, place, manifest, None if as_it_is else one.compiled.data)
    return Outcome(job, "installed", record.problems(), record.rows, choice, there.folder, there)


def _facts(one: Built, row: Row, judge: Judge) -> dict[str, Any]:
    """What the inputs and the tools decide."""
    assert row.verdict is not None  # noqa: S101  (only what was judged gets here)
    # Of what was built elsewhere the lowered graph is not known.
    graph = {"graph_sha256": hashlib.sha256(one.lowered.given).hexdigest()} if one.lowered.given else {}
    compiled = {"compiled": dict(one.compiled.facts)} if one.compiled.facts else {}
    return {
        **graph, "gate": judge.facts(), "accuracy": row.verdict.to_json(), **one.lowered.facts,
        **compiled,
    }  # fmt: skip
