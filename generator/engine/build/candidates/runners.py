"""What runs an engine that was compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generator.engine.build.candidates.choices import Choice
from generator.engine.compile.base import Compiled
from generator.engine.runner import OnnxRunner, Runner
from generator.plan import EngineProgram

if TYPE_CHECKING:
    from pathlib import Path


def runner_of(choice: Choice, compiled: Compiled, program: EngineProgram, root: Path) -> Runner:
    """What was compiled, loaded as it is served: with its threads on the CPU, and its plugins.

    `root` is the project's, from which the paths of plugins and of a torch factory are.
    """
    if choice.engine == "tensorrt":
        from generator.engine.compile.tensorrt import TensorRTRunner

        return TensorRTRunner(compiled.data, plugins=plugins_of(program, root))
    if choice.engine == "inductor":
        from generator.engine.compile.inductor.runner import InductorRunner

        return InductorRunner(compiled.data, root=root, threads=0 if choice.cuda else program.intra_op_threads)
    providers = ("CUDAExecutionProvider", "CPUExecutionProvider") if choice.cuda else ("CPUExecutionProvider",)
    return OnnxRunner(
        compiled.data, threads=program.intra_op_threads, optimise=choice.precision != "fp8", providers=providers
    )


def plugins_of(program: EngineProgram, root: Path) -> list[str]:
    """The libraries of plugins that the spec names; their paths are from the project's root."""
    return [str(root / path) for path in program.build.plugins]
