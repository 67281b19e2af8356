"""What compiles an engine here, and the settings that it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generator.engine.build.candidates.choices import Choice
from generator.engine.build.jobs import Job
from generator.engine.build.lower.lowered import Lowered
from generator.engine.compile.base import Compiled, Compiler, Profile, Settings
from generator.engine.errors import Finding, StageError
from generator.plan import EngineProgram
from generator.project import Project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generator.engine.runner import Tensors

Progress = Callable[[str], None]
# The spec's word → the compiler's. Where Q/DQ is in the graph it asks for no other way.
INT8_BY = {"qdq": "cache", "calibration_cache": "cache", "dynamic_range": "dynamic_range", "tensorrt": "batches"}


@dataclass(frozen=True)
class Built:
    """A choice, compiled: the lowered graph that it was made of, and the result."""

    choice: Choice
    lowered: Lowered
    compiled: Compiled

    @property
    def served(self) -> bool:
        """Whether something can serve it: torch.compile's cache is of no use without the module, and a torch factory
        is not there when a server loads it.
        """
        facts = self.compiled.facts
        return self.choice.served and not (facts.get("kind") == "torch.compile" and facts.get("factory"))


def compiler_of(
    choice: Choice, program: EngineProgram, project: Project, batches: Sequence[Tensors] = ()
) -> Compiler:
    """What compiles it. `batches` are what TensorRT 8.6 calibrates with itself, if the spec says so."""
    if choice.engine == "tensorrt":
        from generator.engine.compile.tensorrt import TensorRT

        return TensorRT(int8_by=INT8_BY[program.build.int8_by], batches=batches)
    if choice.engine == "inductor":
        from generator.engine.compile.inductor.compiler import InductorCompiler

        return InductorCompiler(
            device="cuda" if choice.cuda else "cpu", factory=program.build.factory or "", root=project.root,
            threads=0 if choice.cuda else program.intra_op_threads,
        )  # fmt: skip
    from generator.engine.compile.onnxruntime import OnnxRuntimeCompiler

    return OnnxRuntimeCompiler(cuda=choice.cuda)


def settings_of(
    job: Job, choice: Choice, profiles: Sequence[Profile], lowered: Lowered, project: Project
) -> Settings:
    """The spec's settings for a compiler."""
    build = job.program.build
    timing = None if build.timing_cache is None else project.path(build.timing_cache)
    return Settings(
        precision=choice.precision, profiles=tuple(profiles), ranges=dict(lowered.ranges),
        workspace_mib=build.workspace_mib, optimization_level=build.optimization_level,
        timing_cache=timing.read_bytes() if timing is not None and timing.is_file() else None,
        version_compatible=build.version_compatible, hardware=build.hardware, refit=build.refit,
        plugins=tuple(str(project.path(path)) for path in build.plugins), channels_last=build.channels_last,
    )  # fmt: skip


def compile_choice(
    job: Job, choice: Choice, profiles: Sequence[Profile], lowered: Lowered, *, project: Project, progress: Progress
) -> Built:
    """Compiles a lowered graph. Raises StageError."""
    if choice.engine == "inductor" and job.program.build.factory and job.program.fold is not None:
        text = "steps are folded into the ONNX file's graph, and the module of the torch factory does not have them"
        hint = "remove `layout: folded`, or `factory`: then Inductor compiles the graph"
        raise StageError(Finding("TK964", text, hint, "build"))
    settings = settings_of(job, choice, profiles, lowered, project)
    progress(f"compiling {choice.title}")
    compiled = compiler_of(choice, job.program, project, lowered.batches).compile(lowered.given, settings, progress)
    keep_timing_cache(job, project, compiled)
    if str(compiled.facts.get("lean_runtime", "")).startswith("excluded"):
        text = "the version-compatible plan has no lean runtime in it, and Triton loads none: it could not be served"
        hint = "build it where libnvinfer_lean is installed, or remove `version_compatible`"
        raise StageError(Finding("TK987", text, hint, "build"))
    return Built(choice, lowered, compiled)


def keep_timing_cache(job: Job, project: Project, compiled: Compiled) -> None:
    """For the next build, if the spec says where; losing it costs time and nothing else."""
    import contextlib

    from generator.whole_file import write_whole

    file = job.program.build.timing_cache
    if file is None or compiled.timing_cache is None:
        return
    with contextlib.suppress(OSError):
        project.path(file).parent.mkdir(parents=True, exist_ok=True)
        write_whole(project.path(file), compiled.timing_cache)
