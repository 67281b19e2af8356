"""Several programs in one process: a batch goes through all of them whole, and tensors are passed as they are."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tritonkit_runtime.batch import Array, Batch, Tensors
from tritonkit_runtime.dtypes import NUMPY_DTYPES
from tritonkit_runtime.parameters import (
    EngineProgram,
    FlowProgram,
    ParameterError,
    Parameters,
    PythonProgram,
    StageSpec,
    TensorSpec,
)
from tritonkit_runtime.programs.outputs import check_outputs
from tritonkit_runtime.programs.runners import Runner, Signature, single_runner
from tritonkit_runtime.steps import StepError


class StageError(Exception):
    """A stage failed for the whole batch: which, and why."""

    def __init__(self, stage: str, cause: Exception) -> None:
        super().__init__(f"{stage}: {cause}")
        self.stage, self.cause = stage, cause


@dataclass(frozen=True)
class _Stage:
    """`copied` are the inputs that somebody else may still read when this stage has written into them."""

    spec: StageSpec
    runner: Runner
    copied: frozenset[str]

    def run(self, values: Mapping[str, Array], live: Batch) -> Tensors:
        """The stage's outputs by the flow's names; bad items are in `live.failed`. Raises StageError."""
        live.tensors = {
            inside: values[name].copy() if inside in self.copied else values[name]
            for inside, name in self.spec.takes.items()
            if name in values
        }
        try:
            given = self.runner.run(live)
        except Exception as error:
            raise StageError(self.spec.name, error) from error
        try:
            found = check_outputs(given, self.spec.outputs, live.size if live.batched else None)
        except ValueError as error:
            raise StageError(self.spec.name, StepError(f"it {error}")) from error
        return {self.spec.gives[inside]: array for inside, array in found.items() if inside in self.spec.gives}


class FlowRunner:
    """The stages in order. A request that a stage has failed goes no further, as in an ensemble."""

    def __init__(self, program: FlowProgram, parameters: Parameters, folder: Path, gpu: int | None = None) -> None:
        self._outputs = parameters.outputs
        _check_wiring(program, parameters)
        self._stages: list[_Stage] = []
        try:
            for spec in program.stages:
                signature = Signature(spec.inputs, spec.outputs, parameters.max_batch_size, parameters.limits, gpu)
                runner = _load(spec, signature, folder, parameters.model)
                self._stages.append(_Stage(spec, runner, _shared(spec, program, parameters)))
        except BaseException:
            self.close()
            raise

    def run(self, batch: Batch) -> Tensors:
        """The flow's outputs; rows of failed requests hold zeros or empty texts. Raises StageError."""
        values = dict(batch.tensors)
        live = Batch({}, batch.counts, batch.batched)
        items = np.arange(batch.size)  # of `batch`, one for each item of `live`
        for stage in self._stages:
            values |= stage.run(values, live)
            if not live.failed:
                continue
            for index, message in live.failed.items():
                batch.fail(int(items[index]), message)
            kept, counts = _without_failed(live)
            if not kept.size:
                return {tensor.name: _empty_rows(tensor, batch) for tensor in self._outputs}
            values = {name: array[kept] for name, array in values.items()}
            items = items[kept]
            live = Batch({}, counts, batch.batched)
        outputs = {tensor.name: values[tensor.name] for tensor in self._outputs}
        if len(items) == batch.size:
            return outputs
        return {name: _spread(array, items, batch.size) for name, array in outputs.items()}

    def close(self) -> None:
        """Frees every stage."""
        for stage in self._stages:
            stage.runner.close()


def _load(spec: StageSpec, signature: Signature, folder: Path, model: str) -> Runner:
    try:
        return single_runner(spec.program, signature, folder, f"{model}_{spec.name}")
    except ParameterError as error:
        raise ParameterError(f"stage {spec.name}: {error}") from error


def _shared(spec: StageSpec, program: FlowProgram, parameters: Parameters) -> frozenset[str]:
    """Inputs that a user's class gets as copies, as in an ensemble: all but what an engine made for it alone."""
    if not isinstance(spec.program, PythonProgram):
        return frozenset()  # built-in steps and engines write into arrays of their own
    made = {n for s in program.stages if isinstance(s.program, EngineProgram) for n in s.gives.values()}
    taken = [name for stage in program.stages for name in stage.takes.values()]
    taken += [tensor.name for tensor in parameters.outputs]
    return frozenset(inside for inside, name in spec.takes.items() if name not in made or taken.count(name) > 1)


def _without_failed(batch: Batch) -> tuple[npt.NDArray[np.intp], tuple[int, ...]]:
    """The items of all requests without a bad one, and the counts of those requests."""
    ends = (0, *itertools.accumulate(batch.counts))
    good = [request for request in range(len(batch.counts)) if request not in batch.errors()]
    items = [np.arange(ends[request], ends[request + 1]) for request in good]
    return np.concatenate(items) if items else np.arange(0), tuple(batch.counts[request] for request in good)


def _spread(array: Array, items: npt.NDArray[np.intp], size: int) -> Array:
    """[size, ...] with the rows of `array` at `items`."""
    spread = np.full((size, *array.shape[1:]), b"" if array.dtype == object else 0, array.dtype)
    spread[items] = array
    return spread


def _empty_rows(tensor: TensorSpec, batch: Batch) -> Array:
    """What stands for an output when every request has failed: nobody will see it."""
    lengths = [max(length, 0) for length in tensor.dims]
    shape = (batch.size, *lengths) if batch.batched else tuple(lengths)
    return np.full(shape, b"" if tensor.dtype == "STRING" else 0, NUMPY_DTYPES[tensor.dtype])


def _check_wiring(program: FlowProgram, parameters: Parameters) -> None:
    """ParameterError unless every tensor is there when it is taken."""
    there = {tensor.name for tensor in parameters.inputs}
    for stage in program.stages:
        for direction, pairs, declared in (
            ("takes", stage.takes, stage.inputs),
            ("gives", stage.gives, stage.outputs),
        ):
            if unknown := sorted(set(pairs) - {tensor.name for tensor in declared}):
                raise ParameterError(f"stage {stage.name} {direction} {unknown[0]!r}, which it does not declare")
        required = {tensor.name for tensor in stage.inputs if not tensor.optional}
        if unfed := sorted(required - set(stage.takes)):
            raise ParameterError(f"stage {stage.name} is not given its input {unfed[0]!r}")
        if early := sorted(set(stage.takes.values()) - there):
            raise ParameterError(f"stage {stage.name} takes {early[0]!r}, which no stage before it gives")
        there |= set(stage.gives.values())
    if missing := [tensor.name for tensor in parameters.outputs if tensor.name not in there]:
        raise ParameterError(f"no stage gives the output {missing[0]!r}")
