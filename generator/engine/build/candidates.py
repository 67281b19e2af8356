"""Which engines are tried for a job, what compiles them here, and what runs what was compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from generator.engine.build.jobs import Job
from generator.engine.build.lower import Lowered
from generator.engine.compile.base import Compiled, Compiler, Profile, Settings
from generator.engine.errors import Finding, StageError
from generator.engine.runner import OnnxRunner, Runner
from generator.plan import EngineProgram
from generator.project import Project

if TYPE_CHECKING:
    from collections.abc import Sequence

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """An engine and a precision to try.

    `served`: whether there is something that can serve it on the target. `cuda`: on the GPU, of engines that also run
    on a CPU.
    """

    engine: str
    precision: str
    served: bool = True
    cuda: bool = False

    @property
    def title(self) -> str:
        """`onnxruntime int8`."""
        return f"{self.engine} {self.precision}"


@dataclass(frozen=True)
class Built:
    """A choice, compiled: the lowered graph that it was made of, and the result."""

    choice: Choice
    lowered: Lowered
    compiled: Compiled


def choices(job: Job) -> list[Choice]:
    """What the spec asks for; of `auto` every engine of the target, in FP32 and in the precision that it names."""
    program = job.program
    gpu = job.plan.target.gpu is not None
    if program.asked != "auto":
        # Without a GPU here the graph is made all the same, and judged on the CPU.
        return [
            Choice(program.engine, program.precision, cuda=gpu and program.engine == "onnxruntime" and has_cuda())
        ]
    asked = program.asked_precision
    precisions = ["fp32"] if asked == "fp32" else ["fp32", asked]
    found = [
        Choice("onnxruntime", precision, cuda=gpu) for precision in precisions if precision not in {"tf32", "fp8"}
    ]
    if gpu and "tensorrt" in job.plan.target.backends:
        found += [Choice("tensorrt", precision) for precision in precisions]
    inductor = [precision for precision in precisions if precision not in {"int8", "fp8"}]
    return [*found, *(Choice("inductor", precision, served=False, cuda=gpu) for precision in inductor)]


def compiler_of(choice: Choice) -> Compiler:
    """What compiles it."""
    if choice.engine == "tensorrt":
        from generator.engine.compile.tensorrt import TensorRT

        return TensorRT()
    if choice.engine == "inductor":
        from generator.engine.compile.inductor.compiler import InductorCompiler

        return InductorCompiler(device="cuda" if choice.cuda else "cpu")
    from generator.engine.compile.onnxruntime import OnnxRuntimeCompiler

    return OnnxRuntimeCompiler(cuda=choice.cuda)


def has_cuda() -> bool:
    """Whether ONNX Runtime runs on a GPU here."""
    from generator.engine.compile.onnxruntime import OnnxRuntimeCompiler

    return not OnnxRuntimeCompiler(cuda=True).missing()


def runner_of(choice: Choice, compiled: Compiled, program: EngineProgram) -> Runner:
    """What was compiled, loaded as it is served: with its threads on the CPU, and its plugins."""
    if choice.engine == "tensorrt":
        from generator.engine.compile.tensorrt import TensorRTRunner

        return TensorRTRunner(compiled.data, plugins=program.build.plugins)
    if choice.engine == "inductor":
        from generator.engine.compile.inductor.runner import InductorRunner

        return InductorRunner(compiled.data)
    providers = ("CUDAExecutionProvider", "CPUExecutionProvider") if choice.cuda else ("CPUExecutionProvider",)
    return OnnxRunner(
        compiled.data, threads=program.intra_op_threads, optimise=choice.precision != "fp8", providers=providers
    )


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
    settings = settings_of(job, choice, profiles, lowered, project)
    progress(f"compiling {choice.title}")
    compiled = compiler_of(choice).compile(lowered.graph, settings, progress)
    if compiled.timing_cache is not None and job.program.build.timing_cache is not None:
        _keep(project.path(job.program.build.timing_cache), compiled.timing_cache)
    if str(compiled.facts.get("lean_runtime", "")).startswith("excluded"):
        text = "the version-compatible plan has no lean runtime in it, and Triton loads none: it could not be served"
        hint = "build it where libnvinfer_lean is installed, or remove `version_compatible`"
        raise StageError(Finding("TK987", text, hint, "build"))
    return Built(choice, lowered, compiled)


def _keep(path: Path, data: bytes) -> None:
    """The timing cache for the next build; losing it costs time and nothing else."""
    import contextlib

    from generator.whole_file import write_whole

    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
