"""A tree and a model to an instance, or to problems that point into the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from generator.load import codes
from generator.load.findings import finding, reduce, whole_unions
from generator.load.messages import Describer
from generator.load.shape import shape_of
from generator.load.tree import Tree, TreePath
from generator.problems import Place, Problem, Severity

T = TypeVar("T", bound=BaseModel)

_MAX_ERRORS = 5_000


def validate(tree: Tree, model: type[T]) -> tuple[T | None, list[Problem]]:
    """The model's instance of a document, or None and everything that is wrong with it.

    The document is validated as JSON, so that a strict model takes a list for a tuple and text for an enum
    or a path, of which YAML has none. How strict it is otherwise is the model's own choice. (What a
    "before" validator returns counts as Python data: a strict tuple below it is given no list.)
    """
    try:
        return model.model_validate_json(json.dumps(tree.data)), []
    except ValidationError as error:
        return None, _problems(error, tree, model)


def _problems(error: ValidationError, tree: Tree, model: type[BaseModel]) -> list[Problem]:
    shape = shape_of(model)
    errors = error.errors(include_url=False)

    def is_field(path: TreePath, name: str) -> bool:
        return name in shape.fields(path, tree.data)

    placed = [finding(e, tree.data, is_field) for e in errors[:_MAX_ERRORS]]
    if len(errors) > _MAX_ERRORS:
        placed = whole_unions(placed)
    describer = Describer(tree, shape)
    doubtful = _doubtful(tree)
    told = (p for f in reduce(placed) if not doubtful(f.path) for p in describer.problems(f))
    problems = list(dict.fromkeys(told))
    return [*problems, more_problems(tree.file)] if len(errors) > _MAX_ERRORS else problems


def more_problems(file: str) -> Problem:
    """The note that stands for the problems of a file that are not listed."""
    message = "this file has more problems, which are not listed"
    return Problem(codes.TOO_MANY, Place(file), "", message, "mend these first", Severity.NOTE)


def _doubtful(tree: Tree) -> Callable[[TreePath], bool]:
    """Whether an error at a path may only follow from a value that could not be told, and is reported."""
    above = {path[:length] for path in tree.unknown for length in range(len(path) + 1)}

    def doubtful(path: TreePath) -> bool:
        return path in above or any(path[:length] in tree.unknown for length in range(len(path)))

    return doubtful
