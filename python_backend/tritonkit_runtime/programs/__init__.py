"""A model's program, built from its parameters, and the errors by which it fails."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

from tritonkit_runtime.batch import Batch, Tensors
from tritonkit_runtime.dtypes import NUMPY_DTYPES
from tritonkit_runtime.parameters import FlowProgram, Parameters
from tritonkit_runtime.programs.errors import StageError
from tritonkit_runtime.programs.flow import FlowRunner
from tritonkit_runtime.programs.outputs import check_outputs
from tritonkit_runtime.programs.runners import Runner, Signature, single_runner
from tritonkit_runtime.steps import StepError

__all__ = ["NUMPY_DTYPES", "Program", "ProgramError", "check_outputs"]


class ProgramError(Exception):
    """A program failed for the whole batch: one sentence for clients; details went to the log."""


class Program:
    """A model's program, built from its parameters; raises ParameterError.

    `folder` is the version directory, `log` takes a traceback for the server's log, `gpu` is the number of the GPU
    that the instance was given.
    """

    def __init__(
        self, parameters: Parameters, folder: Path, log: Callable[[str], None], gpu: int | None = None
    ) -> None:
        self._model = parameters.model
        self._outputs = parameters.outputs
        self._log = log
        self._runner = _runner(parameters, folder, gpu, log)
        # What a flow's stages have checked is not checked again, unless rows were put in for requests that failed.
        self._checked = isinstance(self._runner, FlowRunner) and self._runner.checked

    def run(self, batch: Batch) -> Tensors:
        """All declared outputs, contiguous; raises ProgramError. Bad items are in `batch.failed`."""
        try:
            found = self._runner.run(batch)
        except StageError as error:
            raise self._failed(error.cause, f"stage {error.stage}: ") from error
        except Exception as error:
            # Whatever an engine or a user's class raises: the server goes on, and its log has the details.
            raise self._failed(error) from error
        if self._checked and not batch.failed and not batch.broken:
            return found
        if batch.broken:
            for why in set(batch.broken.values()):
                self._log(f"model {self._model} failed for some requests: {why}")
            batch.broken.update(
                {request: f"model {self._model} failed: {why}" for request, why in batch.broken.items()}
            )
        try:
            return check_outputs(found, self._outputs, batch.size if batch.batched else None)
        except ValueError as error:
            raise self._failed(StepError(f"it {error}")) from error

    def close(self) -> None:
        """Frees the program."""
        self._runner.close()

    def _failed(self, error: Exception, where: str = "") -> ProgramError:
        """What clients are told; the log gets a traceback of what is not known to be the value's fault."""
        expected = isinstance(error, StepError)
        told = str(error) if expected else f"{type(error).__name__}: {error}".removesuffix(": ")
        details = told if expected else "".join(traceback.format_exception(error))
        self._log(f"model {self._model} failed: {where}{details}")
        return ProgramError(f"model {self._model} failed: {where}{told}")


def _runner(parameters: Parameters, folder: Path, gpu: int | None, log: Callable[[str], None]) -> Runner:
    if isinstance(parameters.program, FlowProgram):
        return FlowRunner(parameters.program, parameters, folder, gpu, log)
    signature = Signature(
        parameters.inputs, parameters.outputs, parameters.max_batch_size, parameters.limits, gpu, parameters.model
    )
    return single_runner(parameters.program, signature, folder, parameters.model)
