"""The plans that a release needs and that nobody has built yet, and what builds each on a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from deploy.operations.gpus import label_of
from deploy.operations.sizes import GIB
from generator.engine.install.facts import facts_of
from generator.engine.install.store import installed
from generator.plan import EnginePart, Plan
from generator.problems import Problem, Severity
from generator.project import Project

if TYPE_CHECKING:
    from generator.engine.build.jobs import Job

FOLDER = "/work"  # of the Job's container: the version's folder on the claim
CPUS = 4
LEAST_BYTES, FIXED_BYTES, COPIES = 16 * GIB, 8 * GIB, 4
_NAME_LENGTH = 40  # of a Job in the chart's values


@dataclass(frozen=True)
class PlanJob:
    """A plan that is to be built, as one Job. `folder` is the version's in the model repository, `graph` the file
    that the Job reads there, and `prepared` the one that `tritonkit build` writes, from the project's root."""

    name: str
    model: str
    folder: str
    graph: str
    plan: str
    prepared: str
    is_prepared: bool
    command: tuple[str, ...]
    tensorrt: int
    precision: str
    shapes: str
    request: str
    memory_bytes: int
    spec_file: str


@dataclass(frozen=True)
class Missing:
    """`jobs` build what is missing; `there` says which plans are installed, and for which GPU, by their folder.

    `unmeasured` are engines of `auto` that nobody has measured: no Job can. `problems` say why there is no Job for
    what would need one.
    """

    jobs: tuple[PlanJob, ...] = ()
    there: tuple[tuple[str, str], ...] = ()
    unmeasured: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def missing_plans(plans: Sequence[Plan], project: Project) -> Missing:
    """Of every TensorRT engine of these pipelines, in their order. Raises OSError where a model cannot be read."""
    jobs: list[PlanJob] = []
    there: list[tuple[str, str]] = []
    problems: list[Problem] = []
    unmeasured = []
    for plan in plans:
        for engine in plan.engines() if plan.target.gpu else ():
            if engine.program.engine != "tensorrt":
                unmeasured += [engine.part.name] if engine.program.asked == "auto" else []
                continue
            for version in engine.model.version_numbers():
                folder = f"{engine.model.name}/{version}"
                found = installed(project, plan.target.name, engine.part.name, version)
                if found is not None:
                    there.append((folder, label_of(str(facts_of(found.manifest).get("gpu") or ""))))
                    continue
                made = _job(plan, engine, version, project, taken={job.name for job in jobs})
                if isinstance(made, PlanJob):
                    jobs.append(made)
                else:
                    problems += made
    return Missing(tuple(jobs), tuple(there), tuple(unmeasured), tuple(problems))


def _job(
    plan: Plan, engine: EnginePart, version: int, project: Project, *, taken: set[str]
) -> PlanJob | list[Problem]:
    """The Job for one version of an engine; or why none can be given, at the spec's own fields."""
    from generator.engine.build.candidates.choices import Choice
    from generator.engine.build.candidates.compiling import settings_of
    from generator.engine.build.candidates.profiles import profiles_of
    from generator.engine.build.jobs import job_of
    from generator.engine.build.lower.lowered import Lowered
    from generator.engine.build.prepared.files import (
        IN_IMAGE,
        is_prepared,
        plugin_names,
        prepared_folder,
        request_of_plan,
        tensorrt_major,
    )
    from generator.engine.compile.trtexec import GRAPH, arguments
    from generator.engine.errors import StageError
    from generator.render.beside import file_names

    model, part, program = engine
    job = job_of(plan, part, version, project)
    file = file_names(model)[part.key]  # `model.plan`; of a stage of a Python model `<stage>.plan`
    try:
        graph, data = job.read(project)
        settings = settings_of(
            job, Choice("tensorrt", program.precision), profiles_of(job, graph), Lowered(b""), project
        )
        settings = replace(settings, plugins=plugin_names(settings))
        words = arguments(settings, tensorrt_major(job), FOLDER)
    except StageError as error:
        return [
            replace(problem, code="TK431", message=f"no Job can be given for it: {problem.message} ({problem.code})")
            for problem in job.problems(error.findings, Severity.WARNING)
        ]
    onnx = f"{PurePosixPath(file).stem}.onnx"
    return PlanJob(
        name=_name(f"{part.name}-{version}", taken), model=part.name, folder=f"{model.name}/{version}", graph=onnx,
        plan=file, prepared=f"{prepared_folder(job)}/{GRAPH}", is_prepared=is_prepared(job, project),
        command=(IN_IMAGE, *_named(words, file, onnx)), tensorrt=tensorrt_major(job), precision=program.precision,
        shapes=_shapes(job), request=request_of_plan(job),
        memory_bytes=max(LEAST_BYTES, -(-(FIXED_BYTES + COPIES * len(data)) // GIB) * GIB),
        spec_file=plan.spec_file,
    )  # fmt: skip


def _named(words: Sequence[str], plan: str, graph: str) -> Iterator[str]:
    """trtexec's words with the files as the server calls them."""
    from generator.engine.compile.trtexec import GRAPH, PLAN

    names = {f"--onnx={FOLDER}/{GRAPH}": f"--onnx={FOLDER}/{graph}",
             f"--saveEngine={FOLDER}/{PLAN}": f"--saveEngine={FOLDER}/{plan}"}  # fmt: skip
    return (names.get(word, word) for word in words)


def _shapes(job: Job) -> str:
    """Where the shapes of the command come from."""
    if job.program.build.profiles is not None:
        return "`build: {profiles: ...}`"
    axes = ", and `build: {axes: ...}`" if job.program.build.axes else ""
    batch = job.request["batch"]
    if not job.model.max_batch_size:
        return f"the graph's own shapes{axes}"
    if batch["max"] > job.model.max_batch_size:
        return f"batches of 1 to {batch['max']} (the last of `buckets`), best at that{axes}"
    usual = "the largest of `preferred`" if batch["preferred"] else "`max_batch_size` again"
    return f"batches of 1, {batch['opt']} ({usual}) and {batch['max']} (`max_batch_size`){axes}"


def _name(text: str, taken: set[str]) -> str:
    """A name as the chart takes it, other than those that are taken."""
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    name, number = slug[:_NAME_LENGTH].strip("-"), 1
    while name in taken:
        number += 1
        name = f"{slug[: _NAME_LENGTH - len(str(number)) - 1].strip('-')}-{number}"
    return name
