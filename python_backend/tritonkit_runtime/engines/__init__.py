"""The engines that a Python model can run, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tritonkit_runtime.batch import Array, Tensors
from tritonkit_runtime.parameters import EngineProgram, ParameterError, TensorSpec

ENGINES = ("onnxruntime",)


class Engine(Protocol):
    """A loaded model. `inputs` and `outputs` are the declared ones, which the file was checked against."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, tensors: Mapping[str, Array]) -> Tensors:
        """All declared outputs for a whole batch of all declared inputs."""

    def close(self) -> None:
        """Frees the model; `run` must not be called again."""


def load(
    program: EngineProgram,
    folder: Path,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    max_batch_size: int,
) -> Engine:
    """The engine that `program` names, with its file below `folder`; raises ParameterError."""
    if program.engine not in ENGINES:
        raise ParameterError(f"there is no engine {program.engine!r}; valid are {', '.join(ENGINES)}")
    path = folder / program.file
    if not path.is_file():
        raise ParameterError(f"the engine's file {path} does not exist: build or render the model again")
    from tritonkit_runtime.engines.onnxruntime import OnnxRuntime

    return OnnxRuntime(path, inputs, outputs, max_batch_size, program.intra_op_threads)
