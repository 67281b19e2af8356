"""The three kinds of program, and the check of what they give."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tritonkit_runtime import engines
from tritonkit_runtime.batch import Array, Batch, Tensors
from tritonkit_runtime.parameters import (
    EngineProgram,
    ParameterError,
    Parameters,
    PythonProgram,
    StepsProgram,
    TensorSpec,
)
from tritonkit_runtime.steps import Chain, StepError
from tritonkit_runtime.steps.base import Kind
from tritonkit_runtime.user_code import UserClass

# Triton's data types -> numpy's; STRING tensors are object arrays of bytes.
NUMPY_DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "STRING": np.dtype(np.object_),
}
_TRITON_DTYPES = {dtype: name for name, dtype in NUMPY_DTYPES.items()}


class ProgramError(Exception):
    """A program failed for the whole batch: one sentence for clients; details went to the log."""


class Runner(Protocol):
    """What the kinds of program have in common."""

    def run(self, batch: Batch) -> Tensors:
        """The outputs for the whole batch, as yet unchecked."""

    def close(self) -> None:
        """Frees what the program holds."""


class Program:
    """A model's program, built from its parameters; raises ParameterError.

    `folder` is the version directory, `log` takes a traceback for the server's log.
    """

    def __init__(self, parameters: Parameters, folder: Path, log: Callable[[str], None]) -> None:
        self._model = parameters.model
        self._outputs = parameters.outputs
        self._log = log
        self._runner = _runner(parameters, folder)

    def run(self, batch: Batch) -> Tensors:
        """All declared outputs, contiguous; raises ProgramError. Bad items are in `batch.failed`."""
        try:
            found = self._runner.run(batch)
        except StepError as error:
            raise self._failed(str(error), str(error)) from error
        except Exception as error:
            # Whatever an engine or a user's class raises: the server goes on, and its log has the details.
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise self._failed(text, traceback.format_exc()) from error
        try:
            return check_outputs(found, self._outputs, batch.size if batch.batched else None)
        except ValueError as error:
            raise self._failed(f"it {error}", str(error)) from error

    def close(self) -> None:
        """Frees the program."""
        self._runner.close()

    def _failed(self, message: str, details: str) -> ProgramError:
        self._log(f"model {self._model} failed: {details}")
        return ProgramError(f"model {self._model} failed: {message}")


def check_outputs(found: object, declared: Sequence[TensorSpec], items: int | None) -> Tensors:
    """`found` as the declared tensors: names, types, dims and, unless `items` is None, the batch axis.

    Arrays of str become object arrays; nothing else is converted. ValueError names the first wrong tensor.
    """
    if not isinstance(found, Mapping):
        raise ValueError(f"gave {type(found).__name__}, expected a dictionary of name to array")
    names = {tensor.name for tensor in declared}
    if extra := [name for name in found if name not in names]:
        raise ValueError(f"gave a tensor {extra[0]!r} that is not declared; declared are {', '.join(names)}")
    return {tensor.name: _check_output(found, tensor, items) for tensor in declared}


def _check_output(found: Mapping[str, object], tensor: TensorSpec, items: int | None) -> Array:
    if tensor.name not in found:
        raise ValueError(f"did not give the output {tensor}")
    array = found[tensor.name]
    if not isinstance(array, np.ndarray):
        raise ValueError(f"gave {type(array).__name__} for the output {tensor}, expected a numpy array")
    if tensor.dtype == "STRING" and array.dtype.kind in "SU":
        array = array.astype(np.object_)
    expected = tensor.dims if items is None else (items, *tensor.dims)
    fits = len(array.shape) == len(expected) and all(
        wanted in (-1, length) for length, wanted in zip(array.shape, expected, strict=True)
    )
    if array.dtype != NUMPY_DTYPES[tensor.dtype] or not fits:
        raise ValueError(
            f"gave {_TRITON_DTYPES.get(array.dtype, array.dtype)} {list(array.shape)} for the output "
            f"{tensor.name!r}, expected {tensor.dtype} {list(expected)}"
        )
    return np.ascontiguousarray(array)


def _runner(parameters: Parameters, folder: Path) -> Runner:
    program = parameters.program
    if isinstance(program, StepsProgram):
        return StepsRunner(program, parameters)
    if isinstance(program, EngineProgram):
        return EngineRunner(program, parameters, folder)
    return PythonRunner(program, parameters, folder)


class StepsRunner:
    """The only input goes through a chain; a model without a batch axis lends its item one."""

    def __init__(self, program: StepsProgram, parameters: Parameters) -> None:
        if len(parameters.inputs) != 1 or parameters.inputs[0].optional:
            raise ParameterError("a program of steps has one input that is not optional; the model declares others")
        self._input = parameters.inputs[0].name
        takes: Kind = "bytes" if parameters.inputs[0].dtype == "STRING" else "array"
        self._chain = Chain(program.steps, takes, parameters.limits)
        declared = tuple(tensor.name for tensor in parameters.outputs)
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
        value = batch.tensors[self._input]
        result = self._chain(batch, value if batch.batched else value[np.newaxis])
        tensors: Tensors = result if isinstance(result, dict) else {self._names[0]: result}
        return tensors if batch.batched else {name: array[0] for name, array in tensors.items()}

    def close(self) -> None:
        """Nothing to free."""


class EngineRunner:
    """An engine runs the whole batch at once."""

    def __init__(self, program: EngineProgram, parameters: Parameters, folder: Path) -> None:
        self._engine = engines.load(program, folder, parameters.inputs, parameters.outputs, parameters.max_batch_size)

    def run(self, batch: Batch) -> Tensors:
        """The engine's outputs; raises what the engine raises."""
        return self._engine.run(batch.tensors)

    def close(self) -> None:
        """Frees the engine."""
        self._engine.close()


class PythonRunner:
    """A user's own class."""

    def __init__(self, program: PythonProgram, parameters: Parameters, folder: Path) -> None:
        self._instance = UserClass(program, folder, parameters.model)

    def run(self, batch: Batch) -> Tensors:
        """What the class's `run` returns; raises what it raises."""
        return self._instance.run(batch.tensors, batch.fail)

    def close(self) -> None:
        """Calls the class's `close` if it has one."""
        self._instance.close()
