"""Everything that is wrong with specs and configurations on disk, without a server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from generator.load.read import read_bytes
from generator.problems import Place, Problem, ProblemsError, UserError
from generator.project import Project
from generator.workspace import open_workspace, render_trees

if TYPE_CHECKING:
    from google.protobuf.text_format import ParseError

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


def _parse_problem(error: ParseError, file: Path, text: str) -> Problem:
    """protobuf's own sentence, without the position and the line, which stand around it anyway."""
    line = error.GetLine() or 0
    message = re.sub(r"^\d+:\d+ : ", "", str(error))
    if 0 < line <= len(lines := text.split("\n")):
        message = message.removeprefix(f"'{lines[line - 1].rstrip()}': ").removeprefix(f"'{lines[line - 1]}': ")
    message = message[:1].lower() + message[1:].rstrip(".")
    place = Place(str(file), line, error.GetColumn() or 0)
    return Problem("TK501", place, "", message, "the server refuses a file that it cannot parse")


def lint_config(file: Path) -> list[Problem]:
    """Problems of one config.pbtxt: whether the server can read it and would take it for its directory's model."""
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    data, unreadable = read_bytes(file, str(file))
    if unreadable:
        return [replace(problem, hint="") for problem in unreadable]
    try:
        config = text_format.Parse(data.decode("utf-8"), ModelConfig())
    except UnicodeDecodeError as error:
        return [Problem("TK501", Place(str(file)), "", f"it is not UTF-8 text (byte {error.start})")]
    except text_format.ParseError as error:
        return [_parse_problem(error, file, data.decode("utf-8"))]
    problems = []
    directory = file.resolve().parent
    if config.name and config.name != directory.name:
        problems.append(
            Problem("TK502", Place(str(file)), "name", f"`{config.name}` stands in directory `{directory.name}`",
                    "Triton wants both alike")
        )  # fmt: skip
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
