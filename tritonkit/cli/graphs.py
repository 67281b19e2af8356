"""The graphs that a command is given: an ONNX file, or those that the engines of a spec are made of, or became."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

    from generator.engine.build.jobs import Job
    from generator.engine.errors import StageError
    from generator.plan import EnginePart, Plan
    from generator.problems import Problem, ProblemsError
    from generator.project import Project

    _Parameter = click.ParamType[tuple[str, int]]
else:
    _Parameter = click.ParamType  # releases differ in whether it is generic

T = TypeVar("T")
SPEC_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Graph:
    """An ONNX graph, and what it is served with. `name` is the model's, `batch` its largest one (0: it has none).

    `data` is the graph where it is another one than the file's: with steps folded into it (`folded`, in words).
    `target` is empty where there is no spec. `plan` is the engine that was built of it where that is no ONNX file.
    """

    name: str
    file: Path
    engine: str
    precision: str
    batch: int | None = None
    threads: int = 0
    lengths: Mapping[str, int] = field(default_factory=dict)
    target: str = ""
    folded: str = ""
    data: bytes | None = None
    installed: bool = False
    plan: Path | None = None
    plugins: tuple[str, ...] = ()

    @property
    def shown(self) -> Path:
        """The file that is looked at."""
        return self.plan or self.file

    def read(self) -> onnx.ModelProto:
        """The graph. Raises StageError."""
        from generator.engine.inspect import read_graph

        if self.data is None:
            return read_graph(self.file)
        import onnx

        return onnx.load_model_from_string(self.data)

    def title(self) -> list[str]:
        """What it is, in a line or two."""
        from tritonkit.cli.output import shown_path

        what = f"{self.name}: {shown_path(self.shown)}"
        if self.installed:
            what += f", built for target {self.target}: {self.engine} in {self.precision}"
        elif self.target:
            what += f", for target {self.target}"
        return [what] + [f"  folded   {self.folded}"] * bool(self.folded)

    def to_json(self) -> dict[str, Any]:
        """The same for scripts."""
        return {
            "model": self.name, "file": str(self.shown), "target": self.target or None,
            "folded": self.folded or None, "installed": self.installed,
        }  # fmt: skip


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


def graphs_of(
    path: Path, target: str | None, engine: str | None, precision: str | None, *, installed: bool = False
) -> list[Graph]:
    """A file by itself, or the newest version of every engine of a spec on a target (default: the spec's first): the
    graph that it is made of, or with `installed` what was built.

    Raises ProblemsError (TK980 to TK982 where what was built is missing, stale or damaged), UserError.
    """
    if path.suffix not in SPEC_SUFFIXES:
        if target is not None or installed:
            asked = "--target" if target is not None else "--installed"
            raise click.UsageError(f"{asked} goes with a spec, not with an ONNX file")
        return [Graph(path.name, path, engine or "onnxruntime", precision or "fp32")]
    from generator.problems import ProblemsError, UserError
    from generator.project import Project
    from generator.workspace import open_workspace

    project = Project.find()
    work = open_workspace(project, (path,), target, first_only=True)
    work.stop_on_errors()
    found = [
        _graph(plan, one, project, engine, precision)
        for plans in work.plans.values() for plan in plans for one in plan.engines()
    ]  # fmt: skip
    if not found:
        raise UserError(f"{path} has no model with an ONNX file")
    if not installed:
        return found
    engines = [one for plans in work.plans.values() for plan in plans for one in _jobs(plan, project)]
    wrong = [problem for job in engines for problem in _not_there(job, project)]
    if wrong:
        raise ProblemsError(wrong)
    return [_built(graph, job, project) for graph, job in zip(found, engines, strict=True)]


def _graph(plan: Plan, one: EnginePart, project: Project, engine: str | None, precision: str | None) -> Graph:
    """What the engine is made of."""
    from generator.resolve.folded import in_words

    program = one.program
    file = program.file_of(program.newest)
    return Graph(
        one.part.name, project.path(file.onnx), engine or program.engine, precision or program.precision,
        one.model.max_batch_size or None, program.intra_op_threads,
        {axis: usual for axis, (_, usual, _) in program.build.axes.items()}, plan.target.name,
        in_words(program.fold) if program.fold is not None else "", file.data,
        plugins=tuple(str(project.path(plugin)) for plugin in program.build.plugins),
    )  # fmt: skip


def _jobs(plan: Plan, project: Project) -> list[Job]:
    """The newest version of every engine."""
    from generator.engine.build.jobs import job_of

    return [job_of(plan, part, program.newest, project) for _, part, program in plan.engines()]


def _not_there(job: Job, project: Project) -> list[Problem]:
    """Why what was built cannot be looked at."""
    from generator.engine.build.listing import listed_job
    from generator.engine.errors import Finding

    found = listed_job(job, project)
    code, message = {
        "not built": ("TK980", "it has not been built"),
        "as it is": ("TK980", "nothing was built of it: its ONNX file is served as it is"),
        "stale": ("TK981", f"it was built before something changed: {found.why or 'how it is asked for'}"),
        "damaged": ("TK982", f"it is damaged: {found.why}"),
    }.get(found.state, ("", ""))
    hint = f"`tritonkit build {job.plan.spec_file} --target {job.plan.target.name}`, or leave out --installed"
    return job.problems([Finding(code, message, hint, "precision")]) if code else []


def _built(graph: Graph, job: Job, project: Project) -> Graph:
    """The same engine as it was built; where its ONNX file is served as it is, that."""
    there = job.installed(project)
    assert there is not None  # noqa: S101  (_not_there has looked)
    built = replace(graph, engine=there.engine, precision=there.precision, installed=True)
    if there.file is None:
        return built
    file = there.folder / there.file
    if file.suffix == ".onnx":
        return replace(built, file=file, data=None)
    return replace(built, plan=file)


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
            wrong += as_problems(error, graph.shown).problems
    if wrong:
        raise ProblemsError(wrong)
    return found
