"""A plan beside its graph, compiled by a trtexec: where TensorRT's Python package is not, nothing can judge it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

from generator.engine.build.candidates.compiling import keep_timing_cache
from generator.engine.build.jobs import Job
from generator.engine.compile.base import Settings
from generator.engine.compile.trtexec import GRAPH, PLAN, Trtexec, trtexec_here
from generator.engine.errors import Finding
from generator.plan_header import instead_of, shown
from generator.project import Project
from generator.whole_file import write_whole


def compile_prepared(
    job: Job, folder: Path, settings: Settings, project: Project, progress: Callable[[str], None], *,
    again: bool = False,
) -> list[Finding]:  # fmt: skip
    """Compiles what was prepared in `folder`, where a GPU and a trtexec of the target's version are; what to know.

    A plan that is there is of the same graph and commands, and stays unless `again`. Raises StageError when trtexec
    builds none.
    """
    plan, program = folder / PLAN, trtexec_here() if _has_driver() else ""
    if program and (again or not plan.exists()):
        compiler = Trtexec(program)
        why = _unfit(compiler, program, job.plan.target.server)
        if why is not None:
            return [why]
        progress(f"compiling with {program}")
        made = compiler.compile((folder / GRAPH).read_bytes(), settings, progress)
        keep_timing_cache(job, project, made)
        write_whole(plan, made.data)
    if not plan.exists():
        return []
    where = plan.relative_to(project.root)
    return [
        Finding(
            "TK995",
            f"{where} is compiled, and nothing here can run it: it has not been judged, and is not installed",
            f"where TensorRT's Python package and the GPU are: {_taking(job, where)}",
            "engine",
        )
    ]


def _has_driver() -> bool:
    """Whether NVIDIA's driver is here: trtexec builds on the GPU."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def _taking(job: Job, plan: Path) -> str:
    """The command that judges and installs it."""
    name = f"{job.model.name}/{job.version}"
    return f"`tritonkit build {job.plan.spec_file} --target {job.plan.target.name} --from {name}={plan}`"


def _unfit(compiler: Trtexec, program: str, release: str) -> Finding | None:
    """Why this trtexec's plan would be of no use."""
    missing = compiler.missing()
    if missing:
        return Finding("TK987", f"the trtexec here is not used: {missing}", "", "engine")
    version = compiler.version()
    instead = instead_of(version, release)
    if instead is None:
        return None
    text = f"{program} is of TensorRT {shown(version)}, and Triton {release} has {instead.has}: it is not used"
    return Finding("TK987", text, "run build.sh in the image of that release", "engine")
