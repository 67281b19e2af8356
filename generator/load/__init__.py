"""YAML files to checked models, with every problem of every file at its line and column."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

from generator.load import codes
from generator.load.codes import CODES
from generator.load.errors import FieldError, FieldsError
from generator.load.tree import Tree
from generator.load.validate import T, more_problems, validate
from generator.load.yaml_tree import parse_file
from generator.problems import Place, Problem

__all__ = ["CODES", "FieldError", "FieldsError", "LoadResult", "Loaded", "Tree", "load"]

MAX_PROBLEMS = 500
"""How many problems of one file are listed."""


@dataclass(frozen=True)
class Loaded(Generic[T]):
    """A valid document: `tree.place("model", "onnx")` tells where a value of it stands."""

    path: Path
    value: T
    tree: Tree


@dataclass(frozen=True)
class LoadResult(Generic[T]):
    """The valid documents and the problems of all others, by file and line.

    `sources` maps the file names of the problems' places to the files' text, for excerpts.
    """

    documents: list[Loaded[T]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)


def load(paths: Sequence[Path], model: type[T], *, base: Path | None = None) -> LoadResult[T]:
    """Load every file in `paths`; a directory stands for the *.yaml and *.yml files in it, sorted.

    A file that is named twice is loaded once. Places name files relative to `base` (the current directory
    when None) where they are inside it. Bad files raise nothing: their problems are in the result.
    """
    root = os.path.abspath(base or Path.cwd())  # noqa: PTH100 - resolve() would follow links
    result: LoadResult[T] = LoadResult()
    for path in _files(paths, root, result.problems):
        name = _shown(path, root)
        parsed = parse_file(path, name)
        if parsed.text:
            result.sources[name] = parsed.text
        problems = list(parsed.problems)
        if parsed.tree is not None:
            value, wrong = validate(parsed.tree, model)
            problems += wrong
            if value is not None and not problems:
                result.documents.append(Loaded(path, value, parsed.tree))
        result.problems.extend(_first(problems, name))
    return result


def _files(paths: Sequence[Path], root: str, problems: list[Problem]) -> list[Path]:
    files: dict[str, Path] = {}
    for path in paths:
        for file in _expanded(path, root, problems):
            files.setdefault(os.path.abspath(file), file)  # noqa: PTH100
    return list(files.values())


def _expanded(path: Path, root: str, problems: list[Problem]) -> list[Path]:
    try:
        if not path.is_dir():
            return [path]
        inside = [p for p in path.iterdir() if p.suffix in (".yaml", ".yml") and not p.name.startswith(".")]
        found = sorted(p for p in inside if not p.is_dir())
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        message = f"this cannot be read: {reason}"
        problems.append(Problem(codes.FILE_UNREADABLE, Place(_shown(path, root)), "", message))
        return []
    if not found:
        message = "the directory holds no *.yaml or *.yml files"
        hint = "name a file, or another directory"
        problems.append(Problem(codes.NO_FILES, Place(_shown(path, root)), "", message, hint))
    return found


def _shown(path: Path, root: str) -> str:
    """The name of a file in messages."""
    whole = Path(os.path.abspath(path))  # noqa: PTH100
    return str(whole.relative_to(root)) if whole.is_relative_to(root) else str(path)


def _first(problems: list[Problem], name: str) -> list[Problem]:
    """The problems of one file by place, less those that nobody would read."""
    listed = [p for p in problems if p.code != codes.TOO_MANY]
    ordered = sorted(listed, key=lambda p: (p.place.line, p.place.column))
    all_listed = len(listed) == len(problems) and len(ordered) <= MAX_PROBLEMS
    return ordered if all_listed else [*ordered[:MAX_PROBLEMS], more_problems(name)]
