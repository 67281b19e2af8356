"""The engines that a pipeline serves beside the one that is judged: what each loses alone, they lose together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from generator.engine.build.candidates.choices import Choice
from generator.engine.build.candidates.runners import runner_of
from generator.engine.build.jobs import Job, job_of
from generator.engine.compile.base import Compiled
from generator.engine.errors import Finding, StageError
from generator.engine.install.store import Installed
from generator.engine.runner import Runner
from generator.engine.validate.shapes import first_line
from generator.plan import EngineProgram
from generator.project import Project

Beside = tuple[Installed, EngineProgram]


def installed_beside(job: Job, project: Project) -> list[Beside]:
    """The other engines of the pipeline that are installed, current, and not their ONNX files as they are."""
    found = []
    for _, part, program in job.plan.engines():
        if part.name == job.model.name:
            continue
        other = job_of(job.plan, part, part.newest(), project)
        there = other.installed(project)
        if there is not None and there.file is not None and other.is_current(project):
            found.append((there, program))
    return found


@contextmanager
def running(engines: Sequence[Beside], root: Path) -> Iterator[Mapping[str, Runner]]:
    """Each of them loaded, by its model's name. `root` is the project's.

    Raises StageError (TK978) for one that cannot be.
    """
    runners: dict[str, Runner] = {}
    try:
        for there, program in engines:
            runners[there.model] = _loaded(there, program, root)
        yield runners
    finally:
        for runner in runners.values():
            runner.close()


def _loaded(there: Installed, program: EngineProgram, root: Path) -> Runner:
    choice, file = Choice(there.engine, there.precision), there.folder / str(there.file)
    try:
        return runner_of(choice, Compiled(file.name, file.read_bytes(), {}), program, root)
    except Exception as error:
        text = f"the engine of `{there.model}`, which is served beside it, cannot be loaded: {first_line(error)}"
        hint = f"build `{there.model}` anew (`tritonkit build --force`), or delete {there.folder}"
        raise StageError(Finding("TK978", text, hint, "accuracy")) from error
