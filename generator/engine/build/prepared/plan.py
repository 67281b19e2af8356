"""A plan beside its graph, compiled by a trtexec: where TensorRT's Python package is not, nothing can judge it."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from generator.engine.build.candidates.compiling import keep_timing_cache
from generator.engine.build.jobs import Job
from generator.engine.build.prepared.files import Prepared
from generator.engine.compile.trtexec import GRAPH, PLAN, Trtexec, trtexec_here
from generator.engine.errors import Finding, StageError
from generator.plan_header import instead_of, read_header, shown
from generator.project import Project
from generator.whole_file import write_whole


def compile_prepared(
    job: Job, prepared: Prepared, project: Project, progress: Callable[[str], None], *, again: bool = False
) -> list[Finding]:  # fmt: skip
    """Compiles what was prepared, where a GPU and a trtexec of the target's version are; what to know.

    A plan that is there is of the same request, and stays unless `again`. Raises StageError when trtexec
    builds none.
    """
    folder, settings = prepared
    found, has_driver = trtexec_here(), _has_driver()
    plan, program = folder / PLAN, found if has_driver else ""
    notes = list(_named_in_vain())
    if found and not has_driver and not plan.exists():
        text = f"{found} is here and not used: it builds on a GPU, and NVIDIA's driver (libcuda.so.1) is not here"
        notes.append(Finding("TK987", text, "run build.sh where the GPU is", "engine"))
    if program and (again or not plan.exists()):
        compiler = Trtexec(program)
        why = _unfit(compiler, program, job.plan.target.server, newer_loads_it=settings.version_compatible)
        if why is not None:
            return [*notes, why]
        progress(f"compiling with {program}")
        made = compiler.compile((folder / GRAPH).read_bytes(), settings, progress)
        _check_plan(program, made.data)
        keep_timing_cache(job, project, made)
        write_whole(plan, made.data)
    if not plan.exists():
        return notes
    where = _from_here(plan)
    return [
        *notes,
        Finding(
            "TK995",
            f"{where} is compiled, and nothing here can run it: it has not been judged, and is not installed",
            f"where TensorRT's Python package and the GPU are: {_taking(job, project, where)}",
            "engine",
        ),
    ]


def _check_plan(program: str, data: bytes) -> None:
    """Raises StageError (TK955) for what no TensorRT could load, whatever trtexec's status was."""
    header = read_header(data)
    said = header.problem if header.is_plan is False else ""
    if header.is_plan and header.size_bytes != len(data):
        said = f"has {len(data):,} bytes, and its header tells of {header.size_bytes:,}"
    if said:
        text = f"{program} ended well and wrote no plan: {PLAN} {said}"
        raise StageError(Finding("TK955", text, "look whether there is room, and whether it is a trtexec", "engine"))


def _has_driver() -> bool:
    """Whether NVIDIA's driver is here: trtexec builds on the GPU."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def _from_here(path: Path) -> str:
    """A path as it is typed in the current folder, which the command line's paths count from."""
    return os.path.relpath(path)


def _taking(job: Job, project: Project, plan: str) -> str:
    """The command that judges and installs it, for a shell in the current folder."""
    spec = _from_here(project.root / job.plan.spec_file)
    given = f"{job.model.name}/{job.version}={plan}"
    return f"`{shlex.join(['tritonkit', 'build', spec, '--target', job.plan.target.name, '--from', given])}`"


def _named_in_vain() -> Iterator[Finding]:
    """That TRTEXEC names nothing that can be run."""
    named = os.environ.get("TRTEXEC")
    if named and shutil.which(named) is None:
        hint = "let it name the program itself, or unset it: then the one on PATH is used"
        yield Finding("TK987", f"TRTEXEC names {named}, and there is no such program", hint, "engine")


def _unfit(compiler: Trtexec, program: str, release: str, *, newer_loads_it: bool) -> Finding | None:
    """Why this trtexec's plan would be of no use; `newer_loads_it`: a newer TensorRT than its own does."""
    missing = compiler.missing()
    if missing:
        return Finding("TK987", f"the trtexec here is not used: {missing}", "", "engine")
    version = compiler.version()
    instead = instead_of(version, release)
    if instead is None or (instead.older and newer_loads_it):
        return None
    text = f"{program} is of TensorRT {shown(version)}, and Triton {release} has {instead.has}: it is not used"
    return Finding("TK987", text, "run build.sh in the image of that release", "engine")
