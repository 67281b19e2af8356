"""The ONNX models that a command is given: a file, or those of a spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from generator.engine.errors import StageError
    from generator.problems import Problem, ProblemsError

    _Parameter = click.ParamType[tuple[str, int]]
else:
    _Parameter = click.ParamType  # releases differ in whether it is generic

T = TypeVar("T")
SPEC_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Graph:
    """An ONNX file, and what it is served with. `name` is the model's, `batch` its largest one (0: it has none)."""

    name: str
    file: Path
    engine: str
    precision: str
    batch: int | None = None
    threads: int = 0
    lengths: Mapping[str, int] = field(default_factory=dict)


class Length(_Parameter):
    """`AXIS=N`."""

    name = "axis=n"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:  # fmt: skip
        """The axis and its length. Raises click.BadParameter."""
        axis, _, length = str(value).rpartition("=")
        if not axis or not length.isascii() or not length.isdigit() or not 0 < int(length[:12]) <= 10**9:
            self.fail(f"{value} is not AXIS=N with N from 1 to 1000000000, as in `tokens=128`", param, ctx)
        return axis, int(length)


def graphs_of(path: Path, target: str | None, engine: str | None, precision: str | None) -> list[Graph]:
    """A file by itself, or the newest version of every engine of a spec on a target (default: the spec's first).

    Raises ProblemsError, UserError.
    """
    if path.suffix not in SPEC_SUFFIXES:
        if target is not None:
            raise click.UsageError("--target goes with a spec, not with an ONNX file")
        return [Graph(path.name, path, engine or "onnxruntime", precision or "fp32")]
    from generator.plan import EngineProgram
    from generator.problems import UserError
    from generator.project import Project
    from generator.workspace import open_workspace

    project = Project.find()
    work = open_workspace(project, (path,), target, first_only=True)
    work.stop_on_errors()
    found = [
        Graph(
            model.name, project.path(program.file_of(program.newest).onnx), engine or program.engine,
            precision or program.precision, model.max_batch_size or None, program.intra_op_threads,
            {axis: usual for axis, (_, usual, _) in program.build.axes.items()},
        )
        for plans in work.plans.values() for plan in plans for model in plan.models
        if isinstance(program := model.program, EngineProgram)
    ]  # fmt: skip
    if not found:
        raise UserError(f"{path} has no model with an ONNX file")
    return found


def as_problems(error: StageError, file: Path) -> ProblemsError:
    """What a stage found, about `file`."""
    from generator.problems import Place, Problem, ProblemsError

    return ProblemsError(Problem(f.code, Place(str(file)), "", f.message, f.hint) for f in error.findings)


def of_each(graphs: list[Graph], look: Callable[[Graph], T]) -> list[T]:
    """`look` at every model; what is wrong with any is told together. Raises ProblemsError."""
    from generator.engine.errors import StageError
    from generator.problems import ProblemsError

    found: list[T] = []
    wrong: list[Problem] = []
    for graph in graphs:
        try:
            found.append(look(graph))
        except StageError as error:
            wrong += as_problems(error, graph.file).problems
    if wrong:
        raise ProblemsError(wrong)
    return found
