"""Everything that is wrong with specs and configurations on disk, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    try:
        text = file.read_text(encoding="utf-8")
        config = text_format.Parse(text, ModelConfig())
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        return [Problem("TK501", Place(str(file)), "", f"it is not UTF-8 text (byte {error.start})")]
    except text_format.ParseError as error:
        message = str(error).split(" : ", 1)[-1].strip("'\"")
        place = Place(str(file), error.GetLine() or 0, error.GetColumn() or 0)
        return [Problem("TK501", place, "", message, "the server refuses a file that it cannot parse")]
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
