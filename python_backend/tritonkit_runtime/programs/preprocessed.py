"""Steps and their engine on one GPU: one kernel makes the input where the engine reads it.

Files are decoded by the CPU, or by the GPU where it takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tritonkit_runtime.batch import Array, Batch, Tensors
from tritonkit_runtime.buffered.errors import BatchError, BrokenError, ShapeError
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.loading import Loaded
from tritonkit_runtime.buffered.requests import PATIENCE_S, misfit
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.dtypes import BUFFER_DTYPES
from tritonkit_runtime.parameters import (
    Buffers,
    EngineProgram,
    FlowProgram,
    ParameterError,
    Parameters,
    StepsProgram,
    TensorSpec,
)
from tritonkit_runtime.preprocess.errors import NotOnGpuError
from tritonkit_runtime.preprocess.filling import from_files, from_images
from tritonkit_runtime.preprocess.kernel import Kernel
from tritonkit_runtime.preprocess.recipe import Recipe
from tritonkit_runtime.preprocess.staging import Staging
from tritonkit_runtime.preprocess.wanted import Wanted
from tritonkit_runtime.programs.buffered import loaded
from tritonkit_runtime.programs.errors import StageError
from tritonkit_runtime.programs.pairs import Pair, pairs
from tritonkit_runtime.programs.runners import Signature
from tritonkit_runtime.steps import StepError

# Puts a batch's images where a lane has them, but for those that have failed, and gives the items that have a row
# there. It is told the items whose files were refused before.
Fill = Callable[[Lane, Collection[int]], list[int]]


class PreprocessedRunner:
    """Runs a batch of encoded or raw images through the ring.

    `filling` gives what puts a batch into a lane, or raises StepError; `refused` the rows of a lane whose files were
    not decoded there.
    """

    def __init__(
        self, pair: Pair, ring: Ring, close: Callable[[], None], *, filling: Callable[[Batch, Array], Fill],
        refused: Callable[[Lane], Sequence[int]] = lambda _: (),
    ) -> None:  # fmt: skip
        self._pair, self._ring, self.close = pair, ring, close
        self._filling, self._refused = filling, refused
        self._others = [tensor for tensor in ring.engine.inputs if tensor.name != pair.input]

    def run(self, batch: Batch) -> Tensors:
        """The engine's outputs, rows of failed items zeros; raises StageError of the stage that failed."""
        values = {name: array if batch.batched else array[np.newaxis] for name, array in batch.tensors.items()}
        try:
            fill = self._filling(batch, values[self._pair.given])
        except StepError as error:
            raise StageError(self._pair.steps.name, error) from error
        try:
            self._ring.buckets.of(batch.size)
            lane = self._ring.take(PATIENCE_S)
            try:
                return self._run(lane, batch, values, fill)
            finally:
                self._ring.give_back(lane)
        except (ShapeError, BatchError, BrokenError) as error:
            raise StepError(str(error)) from error

    def _run(self, lane: Lane, batch: Batch, values: Tensors, fill: Fill) -> Tensors:
        refused: set[int] = set()
        while good := fill(lane, refused):
            answers = self._answers(lane, batch, values, good)
            if not (rows := self._refused(lane)):
                return {name: _spread(array, good, batch) for name, array in answers.items()}
            refused.update(good[row] for row in rows)
        shapes = {t.name: (t.shape(batch.size, batch.batched), t.dtype) for t in self._ring.engine.outputs}
        return {name: np.zeros(shape, dtype) for name, (shape, dtype) in shapes.items()}

    def _answers(self, lane: Lane, batch: Batch, values: Tensors, good: Sequence[int]) -> Tensors:
        """What the engine answers to the items in the lane, as views."""
        for tensor in self._others:
            array = values[self._pair.engine.takes[tensor.name]]
            if wrong := misfit(tensor, array, batched=True):
                raise ShapeError(wrong)
            staged = lane.slot.staged[tensor.name]
            if batch.batched:
                staged[: len(good)] = array[good]
            else:
                staged[...] = array[0]
        self._ring.start(lane, len(good))
        return self._ring.finish(lane)


def _spread(array: Array, rows: Sequence[int], batch: Batch) -> Array:
    """A copy, with zeros in place of the items that have no row."""
    if not batch.batched or len(rows) == batch.size:
        return array.copy()
    spread = np.zeros((batch.size, *array.shape[1:]), array.dtype)
    spread[rows] = array
    return spread


def preprocessed(
    program: FlowProgram, parameters: Parameters, folder: Path, gpu: int | None, log: Callable[[str], None]
) -> list[tuple[Pair, PreprocessedRunner]]:
    """The pairs of stages that run as one, on the GPU; `log` is told why one does not that need not.

    ParameterError where one that must cannot.
    """
    found: list[tuple[Pair, PreprocessedRunner]] = []
    try:
        for pair in pairs(program, parameters.outputs):
            try:
                found.append((pair, _loaded(pair, parameters, folder, gpu, log)))
            except NotOnGpuError as error:
                text = f"the steps of stage {pair.steps.name} cannot run on the GPU: {error}"
                if _engine(pair)[1].preprocess == "gpu":
                    raise ParameterError(f"{text}; `preprocess: auto` would run them on the CPU") from error
                log(f"model {parameters.model}: {text}. They run on the CPU.")
            except ParameterError as error:
                raise ParameterError(f"stage {pair.engine.name}: {error}") from error
    except BaseException:
        for _, runner in found:
            runner.close()
        raise
    return found


def _engine(pair: Pair) -> tuple[EngineProgram, Buffers]:
    program = pair.engine.program
    if not isinstance(program, EngineProgram) or program.buffers is None:
        raise ParameterError("its engine has no buffers")
    return program, program.buffers


def _loaded(
    pair: Pair, parameters: Parameters, folder: Path, gpu: int | None, log: Callable[[str], None]
) -> PreprocessedRunner:
    program, buffers = _engine(pair)
    if gpu is None:
        raise NotOnGpuError("the instance has none")
    specs = pair.steps.program.steps if isinstance(pair.steps.program, StepsProgram) else ()
    wanted = Wanted(pair.steps.name, specs, pair.steps.inputs[0], pair.input, parameters.limits, buffers.decode)
    check_fits(wanted.recipe(), next(tensor for tensor in pair.engine.inputs if tensor.name == pair.input))
    signature = Signature(
        pair.engine.inputs, pair.engine.outputs, parameters.max_batch_size, parameters.limits, gpu, parameters.model
    )
    if buffers.process == "shared":
        from tritonkit_runtime.programs.handed_over import handed_over

        return handed_over(pair, program, buffers, signature, folder, wanted=wanted)

    def told(text: str) -> None:
        log(f"model {parameters.model}: stage {pair.steps.name}: {text}")

    ready = loaded(program, buffers, signature, folder, lambda device: wanted.kernel(device, gpu, told))
    if any(tensor.most_bytes is not None for tensor in ready.engine.outputs):
        ready.close()
        raise NotOnGpuError("the shapes of the engine's outputs depend on its data")
    if not isinstance(kernel := ready.feeder, Kernel):
        raise TypeError("the ring was made without the kernel")
    return PreprocessedRunner(pair, ready.ring, partial(_close, ready), filling=partial(_filling, kernel))


def _filling(kernel: Kernel, batch: Batch, given: Array) -> Fill:
    recipe, decoder = kernel.recipe, kernel.decoder
    if decoder is None or recipe.decode is None:
        images = recipe.images(batch, given)

        def put(staging: Staging) -> list[int]:
            return from_images(staging, batch, images)
    else:
        decode, headers, kinds = recipe.decode, recipe.headers(batch, given), decoder.kinds

        def put(staging: Staging) -> list[int]:
            return from_files(staging, batch, headers, decode, kinds)

    def fill(lane: Lane, _: Collection[int]) -> list[int]:
        staging = kernel.stagings[lane.number]
        staging.clear()
        return put(staging)

    return fill


def _close(loaded: Loaded) -> None:
    loaded.device.use()  # whichever thread this is
    loaded.close()


def check_fits(recipe: Recipe, taken: TensorSpec) -> None:
    """ParameterError unless the steps give what the engine takes."""
    shape, dtype = recipe.made
    if (shape, dtype) != (taken.dims, BUFFER_DTYPES.get(taken.dtype)):
        raise ParameterError(f"the steps before it give {dtype} {list(shape)}, and it takes {taken}")
