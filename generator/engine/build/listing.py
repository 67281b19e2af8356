"""The engines of a project beside what its specs ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from generator.engine.build.candidates.presence import now_here, told
from generator.engine.build.jobs import Job, jobs_of
from generator.engine.install.request import differences
from generator.engine.install.store import all_installed, unreadable
from generator.problems import errors
from generator.project import Project
from generator.workspace import Workspace

# `as it is`: the ONNX file is served, and nobody has judged it. `left over`: no spec asks for it.
State = Literal["current", "as it is", "not built", "stale", "damaged", "left over"]


@dataclass(frozen=True)
class Listed:
    """One engine: what is asked for (`onnxruntime fp32`), and its engine.json if it is there."""

    target: str
    model: str
    version: int
    asked: str
    state: State
    why: str
    manifest: Mapping[str, Any] | None


def listed(work: Workspace) -> list[Listed]:
    """Every engine that a spec asks for, and every one that is there."""
    wanted = [listed_job(job, work.project) for job in jobs_of(work)]
    known = {(one.target, one.model, one.version) for one in wanted}
    if errors(work.problems):
        return wanted  # what a spec that cannot be read asks for is not known
    left = [
        Listed(one.target, one.model, one.version, "", "left over", "no spec asks for it", one.manifest)
        for one in all_installed(work.project)
        if (one.target, one.model, one.version) not in known
    ]
    return [*wanted, *left]


def listed_job(job: Job, project: Project) -> Listed:
    """One engine that a spec asks for, and what is there for it."""
    there = job.installed(project)
    program = job.program
    asked = f"auto {program.asked_precision}" if program.asked == "auto" else f"{program.engine} {program.precision}"
    place = (job.plan.target.name, job.model.name, job.version, asked)
    if there is None and (why := unreadable(project, *place[:3])):
        return Listed(*place, "damaged", why, None)
    if there is None:
        needs = program.is_built or program.asked == "auto"
        return Listed(*place, "not built" if needs else "as it is", "", None)
    if there.key != job.key:
        changed = differences(there.manifest.get("request", {}), job.request)
        return Listed(*place, "stale", "; ".join(changed), there.manifest)
    damage = there.damage()
    if damage:
        return Listed(*place, "damaged", damage, there.manifest)
    titles = now_here(job, there.manifest)
    return Listed(*place, "current", told(titles) if titles else "", there.manifest)
