"""What a single program does: a chain of steps, an engine, or a user's own class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from tritonkit_runtime import engines
from tritonkit_runtime.batch import Batch, Tensors
from tritonkit_runtime.parameters import (
    EngineProgram,
    Limits,
    ParameterError,
    PythonProgram,
    SingleProgram,
    StepsProgram,
    TensorSpec,
)
from tritonkit_runtime.steps import Chain, takes_several
from tritonkit_runtime.steps.base import Kind
from tritonkit_runtime.user_code import UserClass


class Runner(Protocol):
    """What the kinds of program have in common."""

    def run(self, batch: Batch) -> Tensors:
        """The outputs for the whole batch, as yet unchecked."""

    def close(self) -> None:
        """Frees what the program holds."""


@dataclass(frozen=True)
class Signature:
    """The tensors of a program, what its images may cost, and the number of the instance's GPU, if it has one.

    `model` is the server's name of the model, for messages.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int
    limits: Limits
    gpu: int | None = None
    model: str = ""


def single_runner(program: SingleProgram, signature: Signature, folder: Path, name: str) -> Runner:
    """The runner of one program whose files lie in `folder`; raises ParameterError."""
    if isinstance(program, StepsProgram):
        return StepsRunner(program, signature, folder)
    if isinstance(program, EngineProgram):
        if program.buffers is None:
            return EngineRunner(program, signature, folder)
        # Models that carry the runtime have this part of it where they need it alone.
        from tritonkit_runtime.programs.buffered import BufferedRunner

        return BufferedRunner(program, program.buffers, signature, folder)
    return PythonRunner(program, folder, name)


class StepsRunner:
    """The inputs go through a chain; a model without a batch axis lends its item one."""

    def __init__(self, program: StepsProgram, signature: Signature, folder: Path) -> None:
        inputs = signature.inputs
        self._inputs = tuple(tensor.name for tensor in inputs)
        several = takes_several(program.steps)
        if (len(inputs) != 1 and not several) or any(tensor.optional for tensor in inputs):
            raise ParameterError("a program of steps has one input that is not optional; the model declares others")
        takes: Kind = "tensors" if several else "bytes" if inputs[0].dtype == "STRING" else "array"
        self._chain = Chain(program.steps, takes, signature.limits, folder)
        wanted = self._chain.inputs
        if wanted is not None and set(wanted) != set(self._inputs):
            raise ParameterError(
                f"the first step takes {', '.join(wanted)}; the declared inputs are {', '.join(self._inputs)}"
            )
        declared = tuple(tensor.name for tensor in signature.outputs)
        given = self._chain.outputs
        if given is None and len(declared) != 1:
            raise ParameterError(f"the last step gives one tensor; {len(declared)} outputs are declared")
        if given is not None and set(given) != set(declared):
            raise ParameterError(
                f"the last step gives {', '.join(given)}; the declared outputs are {', '.join(declared)}"
            )
        self._names = declared if given is None else given

    def run(self, batch: Batch) -> Tensors:
        """The chain's outputs; StepError."""
        values = {name: batch.tensors[name] for name in self._inputs}
        if not batch.batched:
            values = {name: value[np.newaxis] for name, value in values.items()}
        result = self._chain(batch, values[self._inputs[0]] if self._chain.inputs is None else values)
        tensors: Tensors = result if isinstance(result, dict) else {self._names[0]: result}
        return tensors if batch.batched else {name: array[0] for name, array in tensors.items()}

    def close(self) -> None:
        """Nothing to free."""


class EngineRunner:
    """An engine runs the whole batch at once."""

    def __init__(self, program: EngineProgram, signature: Signature, folder: Path) -> None:
        self._engine = engines.load(program, folder, signature.inputs, signature.outputs, signature.max_batch_size)

    def run(self, batch: Batch) -> Tensors:
        """The engine's outputs; raises what the engine raises."""
        return self._engine.run(batch.tensors)

    def close(self) -> None:
        """Frees the engine."""
        self._engine.close()


class PythonRunner:
    """A user's own class."""

    def __init__(self, program: PythonProgram, folder: Path, name: str) -> None:
        self._instance = UserClass(program, folder, name)

    def run(self, batch: Batch) -> Tensors:
        """What the class's `run` returns; raises what it raises."""
        return self._instance.run(dict(batch.tensors), batch.fail)

    def close(self) -> None:
        """Calls the class's `close` if it has one."""
        self._instance.close()
