"""Where an engine cannot be compiled here: its graph, and the commands that compile it elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from generator.engine.build.candidates.choices import Choice
from generator.engine.build.candidates.compiling import compiler_of, settings_of
from generator.engine.build.jobs import Job
from generator.engine.build.lower.lowerer import Lowerer
from generator.engine.cache import FOLDER, key_of
from generator.engine.compile.base import Profile, Settings
from generator.engine.compile.kubernetes_job import KubernetesJob
from generator.engine.compile.trtexec import GRAPH, PLAN, arguments, write_inputs
from generator.engine.errors import Finding, StageError
from generator.plan_header import tensorrt_of
from generator.project import Project
from generator.whole_file import write_whole

SCRIPT, IN_IMAGE, NEWEST_MAJOR = "build.sh", "/usr/src/tensorrt/bin/trtexec", 11


class Prepared(NamedTuple):
    """The folder that was written, and the settings that a compiler is given for its graph."""

    folder: Path
    settings: Settings


def prepare(
    job: Job, choice: Choice, profiles: Sequence[Profile], lowerer: Lowerer, *,
    project: Project, progress: Callable[[str], None],
) -> Prepared:  # fmt: skip
    """Writes model.onnx in the engine's precision, build.sh (trtexec) and job.yaml (Kubernetes).

    A plan that is there stays, if it is of the same graph, commands and request: also the plugins' libraries, the
    calibration data and the ONNX file decide what it is.

    Raises StageError for an engine that only this process could have compiled.
    """
    if choice.engine != "tensorrt":
        why = compiler_of(choice, job.program, project).missing()
        text = f"{choice.title} cannot be compiled here{f': {why}' if why else ''}"
        raise StageError(Finding("TK987", text, "", "engine"))
    lowered = lowerer.lower("tensorrt", choice.precision, progress)
    settings = settings_of(job, choice, profiles, lowered, project)
    folder = project.root / prepared_folder(job)
    files = _commands(job, settings)
    try:
        if not _is_of(folder, lowered.given, files[SCRIPT]):
            (folder / PLAN).unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        write_inputs(folder, lowered.given, settings, "8601")
        for name, data in files.items():
            write_whole(folder / name, data)
        for name, library in zip(plugin_names(settings), settings.plugins, strict=True):
            write_whole(folder / name, Path(library).read_bytes())
        (folder / SCRIPT).chmod(0o755)
    except OSError as error:
        raise StageError(Finding("TK983", f"{folder} cannot be written: {error.strerror}", "", "engine")) from error
    return Prepared(folder, settings)


def prepared_folder(job: Job) -> str:
    """Where a job's graph and commands are written, from the project's root."""
    return f"{FOLDER}/prepared/{job.plan.target.name}/{job.model.name}/{job.version}"


def is_prepared(job: Job, project: Project) -> bool:
    """Whether a graph lies there that was made for this request."""
    folder = project.root / prepared_folder(job)
    try:
        script = (folder / SCRIPT).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return f"# Request {request_of_plan(job)}\n" in script and (folder / GRAPH).is_file()


def _is_of(folder: Path, graph: bytes, script: str) -> bool:
    """Whether what is there, and so a plan that was built of it, is of this graph and this script, which has the
    request's hash in it."""
    try:
        return (folder / GRAPH).read_bytes() == graph and (folder / SCRIPT).read_text(encoding="utf-8") == script
    except OSError:
        return False


def request_of_plan(job: Job) -> str:
    """The hash of all that is asked of the plan itself: not of how its answers are judged."""
    return key_of({name: value for name, value in job.request.items() if not name.startswith("accuracy")})


def tensorrt_major(job: Job) -> int:
    """The TensorRT of the target's release, as far as it is known: 10, 11."""
    oldest, newest = tensorrt_of(job.plan.target.server)
    return (oldest or newest or (NEWEST_MAJOR,))[0]


def plugin_names(settings: Settings) -> tuple[str, ...]:
    """What the plugins' libraries are called beside the graph: paths of this machine mean nothing in the image."""
    return tuple(f"plugin-{index}-{Path(library).name}" for index, library in enumerate(settings.plugins))


def _commands(job: Job, settings: Settings) -> dict[str, str]:
    """The script and the Job, for the TensorRT of the target's release."""
    major = tensorrt_major(job)
    settings = replace(settings, plugins=plugin_names(settings))
    command = f'"${{TRTEXEC:-{IN_IMAGE}}}" {shlex.join(arguments(settings, major, "."))}'
    script = (
        "#!/bin/sh\n"
        f"# Builds {PLAN} of {job.model.name} with TensorRT {major}, on the GPU that it is to run on: in the image\n"
        f"# of Triton {job.plan.target.server}, or wherever TRTEXEC leads to one of that version. `tritonkit build\n"
        f"# ... --from {job.model.name}/{job.version}={PLAN}` then judges and installs it.\n"
        f"# Request {request_of_plan(job)}\n"
        f'set -eu\ncd "$(dirname "$0")"\n{command}\n'
    )
    name = "".join(c if c.isalnum() else "-" for c in f"{job.model.name}-{job.version}".lower())
    image = f"tritonserver:{job.plan.target.server}-py3"
    kubernetes = KubernetesJob(job=f"build-{name}", image=image, major=major, claim="engines", folder=job.model.name)
    return {SCRIPT: script, "job.yaml": kubernetes.text(settings)}
