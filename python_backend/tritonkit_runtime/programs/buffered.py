"""An engine that runs in a ring of buffers: on the instance's GPU, or in plain memory."""

from __future__ import annotations

from pathlib import Path

from tritonkit_runtime.batch import Batch, Tensors
from tritonkit_runtime.buffered.errors import BatchError, BrokenError, ShapeError
from tritonkit_runtime.buffered.loading import load
from tritonkit_runtime.device.errors import CudaError
from tritonkit_runtime.parameters import Buffers, EngineProgram, ParameterError
from tritonkit_runtime.programs.runners import Signature
from tritonkit_runtime.steps import StepError


class BufferedRunner:
    """Runs a batch in the smallest bucket that holds it. Raises ParameterError where the engine cannot be loaded."""

    def __init__(self, program: EngineProgram, buffers: Buffers, signature: Signature, folder: Path) -> None:
        most = max(1, signature.max_batch_size)
        if buffers.buckets[-1] != most:
            raise ParameterError(
                f"buckets ends at {buffers.buckets[-1]}, and the largest batch is {most}: render the repository again"
            )
        try:
            self._loaded = load(
                program.engine, folder / program.file, signature.inputs, signature.outputs, buffers.buckets,
                gpu=signature.gpu, batched=signature.max_batch_size > 0, threads=program.intra_op_threads,
                slots=buffers.slots, copies=buffers.copies,
            )  # fmt: skip
        except (CudaError, ImportError, OSError) as error:  # the last two: an engine's package or its libraries
            where = "on the CPU" if signature.gpu is None else f"on GPU {signature.gpu}"
            raise ParameterError(f"{program.file} cannot be made ready {where}: {error}") from error

    def run(self, batch: Batch) -> Tensors:
        """The engine's outputs, as arrays of their own; raises StepError."""
        try:
            return self._loaded.ring.run(batch.tensors)
        except (ShapeError, BatchError, BrokenError) as error:
            raise StepError(str(error)) from error

    def close(self) -> None:
        """Frees buffers and engine."""
        self._loaded.device.use()  # whichever thread this is
        self._loaded.close()
