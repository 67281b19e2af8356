"""A user's own step class: its file is parsed, never run."""

from __future__ import annotations

import ast

from generator.collector import Collector, did_you_mean, names
from generator.collector import Path as FieldPath
from generator.plan import PythonProgram
from generator.project import Project
from generator.spec.models import Model


def own_class(model: Model, path: FieldPath, project: Project, collect: Collector) -> PythonProgram | None:
    """The class that `python` names, looked for in its file without running it; None after a problem."""
    place, _, class_name = (model.python or "").rpartition(":")
    if not place.endswith(".py"):
        return PythonProgram(class_name, None, place, model.arguments)
    file = project.path(place)
    if not project.has_file(place):
        collect.error("TK201", path, f"there is no file `{place}`", "paths count from the project's root")
        return None
    try:
        tree = ast.parse(file.read_bytes(), filename=place)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        collect.error("TK220", path, f"`{place}` is not valid Python: {error.args[0]} (line {line})")
        return None
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if class_name not in classes:
        collect.error(
            "TK220", path, f"`{place}` has no class `{class_name}`; classes: {names(classes)}",
            did_you_mean(class_name, classes),
        )  # fmt: skip
        return None
    methods = {n.name for n in classes[class_name].body if isinstance(n, ast.FunctionDef)}
    if "run" not in methods and not classes[class_name].bases:
        collect.error(
            "TK220", path, f"class `{class_name}` has no method `run(self, tensors, fail)`",
            "it takes arrays by name and returns arrays by name",
        )  # fmt: skip
    return PythonProgram(class_name, place, None, model.arguments)
