"""Everything that is wrong with specs and configurations on disk, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from generator.load.read import read_bytes
from generator.problems import Place, Problem, ProblemsError, UserError
from generator.project import Project
from generator.workspace import open_workspace, render_trees

CODES = {
    "TK501": "A config.pbtxt cannot be parsed",
    "TK502": "A config.pbtxt names another model than its directory",
    "TK503": "A model has no version directory",
}


def lint(project: Project, paths: Sequence[Path]) -> tuple[list[Problem], int]:
    """All problems of `paths` (default: the project's specs), and how many files were looked at.

    Raises UserError for a path that is nothing that can be checked.
    """
    specs, configs = _sorted_out(paths or [project.specs])
    problems: list[Problem] = []
    if specs:
        problems += _lint_specs(project, specs)
    for config in configs:
        problems += lint_config(config)
    return problems, len(specs) + len(configs)


def _sorted_out(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Spec files and config.pbtxt files among `paths`, folders looked into."""
    specs: list[Path] = []
    configs: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
            models = sorted(
                [*path.glob("config.pbtxt"), *path.glob("*/config.pbtxt"), *path.glob("*/*/config.pbtxt")]
            )
            if not found and not models:
                raise UserError(
                    f"there is nothing to check in {path}",
                    "give specs (*.yaml), a model repository, a model's directory or a config.pbtxt",
                )
            specs += found
            configs += models
        elif path.suffix == ".pbtxt":
            configs.append(path)
        else:
            specs.append(path)
    return list(dict.fromkeys(specs)), list(dict.fromkeys(configs))


def _lint_specs(project: Project, specs: Sequence[Path]) -> list[Problem]:
    work = open_workspace(project, specs)
    try:
        render_trees(work)
    except ProblemsError as error:
        return list(error.problems)
    return work.problems


def lint_config(file: Path) -> list[Problem]:
    """Problems of one config.pbtxt: whether the server can read it and would take it for its directory's model."""
    from generator.pbtxt.reader import read

    data, unreadable = read_bytes(file, str(file))
    if unreadable:
        return [replace(problem, hint="") for problem in unreadable]
    found = read(data, str(file))
    problems = list(found.problems)
    directory = file.resolve().parent
    name = next((node for node in found.tree.all("name") if node.value), None)
    if name is not None and name.value != directory.name:
        place = found.source.place(name.start)
        text = f"`{name.value}` stands in directory `{directory.name}`"
        problems.append(Problem("TK502", place, "name", text, "Triton wants both alike"))
    if not any(d.is_dir() and d.name.isdigit() for d in directory.iterdir()):
        problems.append(
            Problem(
                "TK503",
                Place(str(file)),
                "",
                "there is no version directory beside it",
                "`mkdir 1`, even if it is empty",
            )
        )
    return problems
