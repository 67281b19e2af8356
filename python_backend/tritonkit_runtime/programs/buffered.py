"""An engine that runs in a ring of buffers: on the instance's GPU, or in plain memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tritonkit_runtime.batch import Batch, Tensors
from tritonkit_runtime.buffered.errors import BatchError, BrokenError, ShapeError
from tritonkit_runtime.buffered.feed import Feeder
from tritonkit_runtime.buffered.loading import Loaded, load
from tritonkit_runtime.buffered.placing import any_placed, run_placed
from tritonkit_runtime.buffered.requests import PATIENCE_S, length_of, run_apart, run_joined
from tritonkit_runtime.device import Kernels
from tritonkit_runtime.device.errors import CudaError
from tritonkit_runtime.parameters import Buffers, EngineProgram, ParameterError
from tritonkit_runtime.programs.runners import Signature
from tritonkit_runtime.steps import StepError

if TYPE_CHECKING:
    from tritonkit_runtime.preprocess.wanted import Wanted


def loaded(
    program: EngineProgram, buffers: Buffers, signature: Signature, folder: Path,
    feed: Callable[[Kernels], Feeder] | None = None,
) -> Loaded:  # fmt: skip
    """The engine in its ring, an input filled by what `feed` makes; raises ParameterError, and what `feed` raises."""
    check_buckets(buffers, signature)
    if buffers.process == "shared":
        return elsewhere(program, buffers, signature, folder)
    try:
        return load(
            program.engine, folder / program.file, signature.inputs, signature.outputs, buffers.buckets,
            gpu=signature.gpu, batched=signature.max_batch_size > 0, threads=program.intra_op_threads,
            slots=buffers.slots, copies=buffers.copies, feed=feed, lengths=buffers.lengths,
            direct=buffers.inputs == "device", stay=buffers.outputs == "device",
        )  # fmt: skip
    except (CudaError, ImportError, OSError) as error:  # the last two: an engine's package or its libraries
        where = "on the CPU" if signature.gpu is None else f"on GPU {signature.gpu}"
        raise ParameterError(f"{program.file} cannot be made ready {where}: {error}") from error


def check_buckets(buffers: Buffers, signature: Signature) -> None:
    """ParameterError unless they end at the largest batch, or beyond where batches of several instances are run."""
    most, end = max(1, signature.max_batch_size), buffers.buckets[-1]
    if end < most or (end > most and buffers.process != "shared"):
        raise ParameterError(f"buckets ends at {end}, and the largest batch is {most}: render the repository again")


def elsewhere(
    program: EngineProgram, buffers: Buffers, signature: Signature, folder: Path, kernel: Wanted | None = None
) -> Loaded:  # fmt: skip
    """The engine in a process that all instances share, which has the `kernel` before it too. ParameterError."""
    # Models that carry the runtime have this part of it where they need it alone.
    from tritonkit_runtime.engine_process.work import Work
    from tritonkit_runtime.engine_process.worker import load as reached

    path = (folder / program.file).absolute()
    if not path.is_file():
        raise ParameterError(f"the engine's file {path} does not exist: build or render the model again")
    work = Work(
        signature.model, program.engine, path, signature.inputs, signature.outputs, buffers.buckets, signature.gpu,
        signature.max_batch_size > 0, program.intra_op_threads, buffers.slots, kernel,
    )  # fmt: skip
    try:
        return reached(work, max(1, signature.max_batch_size))
    except OSError as error:
        raise ParameterError(f"memory to share with the engine process cannot be had: {error}") from error


class BufferedRunner:
    """Runs a batch in the smallest bucket that holds it. Raises ParameterError where the engine cannot be loaded."""

    def __init__(self, program: EngineProgram, buffers: Buffers, signature: Signature, folder: Path) -> None:
        self._loaded = loaded(program, buffers, signature, folder)
        self._open = tuple(tensor.name for tensor in self._loaded.engine.inputs if tensor.is_open)
        # Where the data decides an output's shape, nobody can tell what is whose, or what is padding's.
        self._alone = any(tensor.most_bytes is not None for tensor in self._loaded.engine.outputs)
        self._direct, self._stays = buffers.inputs == "device", bool(self._loaded.ring.kept)

    def run(self, batch: Batch) -> Tensors:
        """The engine's outputs, as arrays of their own, or OnDevice where they stay there; raises StepError."""
        try:
            ring, tensors = self._loaded.ring, batch.tensors
            if self._stays or (self._direct and any_placed(tensors)):
                return run_placed(ring, tensors, PATIENCE_S if batch.may_wait else 0.0)
            apart = False
            if self._open and (lengths := self._lengths(batch)):
                outputs = (tensor.name for tensor in ring.engine.outputs if tensor.is_open)
                batch.lengths.update(dict.fromkeys(outputs, lengths))
                # A long request makes no other one long, not even if it went no further than to here.
                whole = length_of(ring.engine.inputs, tensors, batched=True)
                apart = {ring.bucket(length) for length in lengths} != {ring.bucket(whole)}
            if apart:
                found, failed = run_apart(ring, tensors, batch.counts, lengths)
                batch.broken.update({number: str(error) for number, error in failed.items()})
                return found
            if batch.batched and not self._alone:
                return run_joined(ring, tensors)
            return ring.run(dict(tensors))
        except (ShapeError, BatchError, BrokenError) as error:
            raise StepError(str(error)) from error

    def _lengths(self, batch: Batch) -> tuple[int, ...]:
        """The lengths of the batch's requests; empty where they are not told of every input with an open axis."""
        told = {batch.lengths.get(name, ()) for name in self._open}
        if self._alone or not batch.batched or len(told) != 1:
            return ()
        [lengths] = told
        return lengths

    def close(self) -> None:
        """Frees buffers and engine."""
        self._loaded.device.use()  # whichever thread this is
        self._loaded.close()
