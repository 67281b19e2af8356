"""Everything that is wrong with specs and repositories on disk, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from generator.lint.check import Checked, check
from generator.lint.paths import Asked, sort_out
from generator.problems import Problem, UserError
from generator.project import NoProjectError, Project


@dataclass
class Linted:
    """What was found. `looked_at` counts specs and models; `checked` has the repositories, one entry a server."""

    problems: list[Problem] = field(default_factory=list)
    looked_at: int = 0
    checked: list[Checked] = field(default_factory=list)


def lint(paths: Sequence[Path], asked: Asked | None = None, project: Project | None = None) -> Linted:
    """All problems of `paths` (none: the specs of the project; `project` is the one around here, if not given).

    Raises UserError for a path in which there is nothing to check, and where specs are in no project.
    """
    if not paths:
        project = project or Project.find()
        paths = [project.specs]
    found = sort_out(paths, asked or Asked())
    linted = Linted(list(found.problems), len(found.specs) + len(found.problems))
    if found.specs:
        from generator.lint.specs import lint_specs
        from generator.workspace import open_workspace

        linted.problems += lint_specs(open_workspace(project or _project_of(found.specs), found.specs))
    for group in found.groups:
        checked = check(group.folders, group.server, group.only)
        linted.checked.append(checked)
        linted.problems += checked.problems
        linted.looked_at += len(checked.judged)
    if not linted.looked_at and not linted.problems:  # what was there a moment ago is gone
        given = ", ".join(map(str, paths))
        raise UserError(f"there is nothing to check in {given}", "look at what stands there now")
    return linted


def _project_of(specs: Sequence[Path]) -> Project:
    """The project around here if the first spec is in it, else the one around that, else the one around here.

    Raises NoProjectError where there is neither.
    """
    here: Project | None = None
    first = specs[0].absolute()
    with suppress(NoProjectError):
        here = Project.find()
    if here is not None and first.is_relative_to(here.root):
        return here
    try:
        return Project.find(first.parent)
    except NoProjectError as error:
        if here is not None:
            return here
        message = f"{specs[0]} is a spec, and {error.message}"
        raise NoProjectError(message, error.hint) from error


def lint_config(file: Path) -> list[Problem]:
    """Problems of one model by its config.pbtxt, among the models beside it."""
    return lint([file]).problems
