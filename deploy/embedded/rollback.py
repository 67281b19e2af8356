"""Back to an earlier version by one command: the spec says so, and the server and the repositories follow."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.control import Control, ready_versions
from deploy.embedded.refresh import Refreshed, refresh
from deploy.embedded.state import ServerRecord
from generator.collector import did_you_mean, names
from generator.edit import serve_only
from generator.lint.specs import checked_trees
from generator.plan import EngineProgram, ModelPlan, Plan
from generator.problems import Problem, ProblemsError, UserError, errors
from generator.project import EMBEDDED, Project
from generator.spec.serving import NEWEST
from generator.whole_file import write_whole
from generator.workspace import Workspace, open_workspace, specs_of, targets_of
from generator.write import write


@dataclass(frozen=True)
class Rollback:
    """What is to be changed: the text of `spec`, so that it serves version `to` of its model alone.

    The spec is of `pipeline`, and has `targets`; `part` is the engine.
    """

    spec: Path
    pipeline: str
    targets: Sequence[str]
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
    newest that the spec serves. Raises ProblemsError when the specs that it may be in have errors, UserError when
    there is no such version.
    """
    work = open_workspace(project, target=record.target) if record else open_workspace(project, first_only=True)
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
    [document] = [document for document in work.specs if document.tree.file == plan.places("name").file]
    spec = document.path.resolve()
    before, after = serve_only(spec, [str(key) for key in part.source], [to])
    return Rollback(spec, plan.name, targets_of(document.value), part.name, to, before, after)


def _find(work: Workspace, name: str) -> tuple[Plan, ModelPlan, ModelPlan]:
    """The pipeline, the model of the server, and its engine: of a pipeline's name or of a model's."""
    engines = [
        (plan, model, part) for plans in work.plans.values() for plan in plans for model, part, _ in plan.engines()
    ]
    found = [e for e in engines if name in {e[1].name, e[2].name}] or [e for e in engines if e[0].name == name]
    if not found:
        work.stop_on_errors()
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
        return max(ready_versions(control.index(), model), default=None)


@dataclass(frozen=True)
class RolledBack:
    """What was done to the server, and the targets that were left, with the errors of each.

    `refreshed` is None without a server, and where it is not `updatable`: that one has to be restarted.
    """

    refreshed: Refreshed | None
    left: Mapping[str, Sequence[Problem]]


def roll_back(
    project: Project, planned: Rollback, record: ServerRecord | None, runs: Path, *,
    on_progress: Callable[[str], None] | None = None,
) -> RolledBack:  # fmt: skip
    """Writes the spec, then brings the server to it, then the pipeline's other repositories that are there.

    Raises what `refresh` does, ProblemsError when no repository can be written, and UserError when there is none:
    the spec is as it was then.
    """
    refreshed, written, left = None, [], {}
    write_whole(planned.spec, planned.after)
    try:
        if record is not None and record.updatable:
            refreshed = refresh(project, record, runs, [planned.pipeline], on_progress=on_progress)
            written.append(record.target)
        for target in planned.targets:
            # `embedded` is always rendered, the others as far as they were before.
            if target in written or (target != EMBEDDED and not project.repository(target).is_dir()):
                continue
            try:
                _render(project, planned.pipeline, target)
            except ProblemsError as error:
                left[target] = errors(error.problems)
            else:
                written.append(target)
        if left and not written:
            raise ProblemsError([problem for problems in left.values() for problem in problems])
        if not written:
            raise UserError(
                f"no repository of `{planned.pipeline}` is there to be changed; it is for {names(planned.targets)}",
                "`tritonkit render` writes them",
            )
    except BaseException:
        if not written:
            write_whole(planned.spec, planned.before)
        raise
    return RolledBack(refreshed, left)


def _render(project: Project, pipeline: str, target: str) -> None:
    """Brings the files of one pipeline in a target's repository to its spec. Raises ProblemsError."""
    work = open_workspace(project, specs_of(project, [pipeline]), target)
    [tree] = checked_trees(work)
    write(tree.files, project.repository(target), owner_of=tree.owners.__getitem__, prune=True)
