"""Back to an earlier version by one command: the spec says so, and the server and the repositories follow."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.control import READY, Control
from deploy.embedded.refresh import Refreshed, refresh
from deploy.embedded.state import ServerRecord
from generator.collector import did_you_mean, names
from generator.edit import serve_only
from generator.plan import EngineProgram, ModelPlan, Plan
from generator.problems import ProblemsError, UserError
from generator.project import EMBEDDED, Project
from generator.spec.serving import NEWEST
from generator.whole_file import write_whole
from generator.workspace import Workspace, open_workspace, render_trees, targets_of
from generator.write import write


@dataclass(frozen=True)
class Rollback:
    """What is to be changed: the text of `spec`, so that it serves version `to` of its model alone.

    `part` is the engine, `served` is the model of the server that has its versions: the same, or in layout `fused`
    the whole pipeline.
    """

    spec: Path
    served: str
    part: str
    to: int
    before: str
    after: str

    def diff(self, shown: str) -> str:
        """What differs in the spec, as a unified diff; empty when it says so already."""
        lines = (self.before.splitlines(keepends=True), self.after.splitlines(keepends=True))
        return "".join(difflib.unified_diff(*lines, shown, shown))


def plan_rollback(project: Project, name: str, to: int | None, record: ServerRecord | None) -> Rollback:
    """What has to be changed so that version `to` of a pipeline or model `name` is served.

    Without `to` it is the next lower version than the newest that the server serves; without a server, than the
    newest that the spec serves. Raises ProblemsError for the specs, UserError when there is no such version.
    """
    work = open_workspace(project, target=record.target if record else EMBEDDED)
    work.stop_on_errors()
    plan, model, part = _find(work, name)
    assert isinstance(part.program, EngineProgram)  # noqa: S101  (for the type checker: _find has looked)
    there = [version.number for version in part.program.versions]
    listed = ", ".join(map(str, there))
    if to is None:
        now = _newest_served(record, model.name) or ((model.versions or NEWEST).served(there) or there)[-1]
        lower = [number for number in there if number < now]
        if not lower:
            hint = f"it has: {listed}; name one with --to" if len(there) > 1 else "it has no other version"
            raise UserError(f"there is no version of `{name}` below the one that is served, {now}", hint)
        to = lower[-1]
    elif to not in there:
        raise UserError(f"`{name}` has no version {to}; it has: {listed}", "`onnx` in the spec names the versions")
    spec = _file_of(work, plan)
    before, after = serve_only(spec, [str(key) for key in part.source], [to])
    return Rollback(spec, model.name, part.name, to, before, after)


def _find(work: Workspace, name: str) -> tuple[Plan, ModelPlan, ModelPlan]:
    """The pipeline, the model of the server, and its engine: of a pipeline's name or of a model's."""
    engines = [
        (plan, model, part)
        for plans in work.plans.values()
        for plan in plans
        for model in plan.models
        for part in model.parts()
        if isinstance(part.program, EngineProgram)
    ]
    found = [e for e in engines if name in {e[1].name, e[2].name}] or [e for e in engines if e[0].name == name]
    if not found:
        known = sorted({engine[0].name for engine in engines} | {engine[1].name for engine in engines})
        raise UserError(
            f"there is no pipeline or engine `{name}` here; there are {names(known)}", did_you_mean(name, known)
        )
    if len(found) > 1:
        several = [e for e in found if len(e[2].version_numbers()) > 1]
        if len(several) != 1:
            raise UserError(f"`{name}` has several engines: {names(e[2].name for e in found)}", "name one of them")
        found = several
    return found[0]


def _newest_served(record: ServerRecord | None, model: str) -> int | None:
    if record is None:
        return None
    with Control(record) as control:
        ready = [version for version, state in control.index().get(model, {}).items() if state == READY]
    return max(ready, default=None)


def _file_of(work: Workspace, plan: Plan) -> Path:
    return next(document.path for document in work.specs if document.value.name == plan.name).resolve()


@dataclass(frozen=True)
class RolledBack:
    """What was done to the server (None without one), and the targets that were left: their specs have errors."""

    refreshed: Refreshed | None
    left: list[str]


def roll_back(
    project: Project, planned: Rollback, record: ServerRecord | None, runs: Path, *,
    on_progress: Callable[[str], None] | None = None,
) -> RolledBack:  # fmt: skip
    """Writes the spec, then brings the server to it, then the other repositories that are there.

    Raises what `refresh` does, with the spec as it was.
    """
    write_whole(planned.spec, planned.after)
    try:
        done = refresh(project, record, runs, on_progress=on_progress) if record is not None else None
    except BaseException:
        write_whole(planned.spec, planned.before)
        raise
    return RolledBack(done, _render_the_others(project, None if record is None else record.target))


def _render_the_others(project: Project, but: str | None) -> list[str]:
    """Renders the other targets, as far as they were rendered before (`embedded` always); names those with errors."""
    targets = {name for document in open_workspace(project).specs for name in targets_of(document.value)}
    left = []
    for target in sorted(targets - {but}):
        root = project.repository(target)
        if not root.is_dir() and target != EMBEDDED:
            continue
        work = open_workspace(project, target=target)
        try:
            work.stop_on_errors()
            [tree] = render_trees(work)
        except ProblemsError:
            left.append(target)
        else:
            write(tree.files, root, owner_of=tree.owners.__getitem__, prune=True, whole=True)
    return left
