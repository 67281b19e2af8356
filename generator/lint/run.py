"""Everything that is wrong with specs and repositories on disk, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from generator.lint.check import Checked, check
from generator.lint.paths import Asked, sort_out
from generator.problems import Problem
from generator.project import Project


@dataclass
class Linted:
    """What was found. `looked_at` counts specs and models; `checked` has the repositories, one entry a server."""

    problems: list[Problem] = field(default_factory=list)
    looked_at: int = 0
    checked: list[Checked] = field(default_factory=list)


def lint(paths: Sequence[Path], asked: Asked | None = None, project: Project | None = None) -> Linted:
    """All problems of `paths` (none: the specs of the project; `project` is the one around here, if not given).

    Raises UserError for a path that is nothing that can be checked, and where specs are in no project.
    """
    if not paths:
        project = project or Project.find()
        paths = [project.specs]
    found = sort_out(paths, asked or Asked())
    linted = Linted(list(found.problems), len(found.specs) + len(found.problems))
    if found.specs:
        from generator.lint.specs import lint_specs
        from generator.workspace import open_workspace

        linted.problems += lint_specs(open_workspace(project or Project.find(), found.specs))
    for group in found.groups:
        checked = check(group.folders, group.server, group.only)
        linted.checked.append(checked)
        linted.problems += checked.problems
        linted.looked_at += len(checked.judged)
    return linted


def lint_config(file: Path) -> list[Problem]:
    """Problems of one model by its config.pbtxt, among the models beside it."""
    return lint([file]).problems
