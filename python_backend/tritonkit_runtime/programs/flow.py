"""Several programs in one process: a batch goes through all of them whole, and tensors are passed as they are."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tritonkit_runtime.batch import Array, Batch, Joined, Tensors
from tritonkit_runtime.dtypes import ALL_DTYPES
from tritonkit_runtime.parameters import (
    EngineProgram,
    FlowProgram,
    ParameterError,
    Parameters,
    PythonProgram,
    StageSpec,
    TensorSpec,
)
from tritonkit_runtime.programs.errors import StageError
from tritonkit_runtime.programs.outputs import check_outputs
from tritonkit_runtime.programs.runners import Runner, Signature, single_runner
from tritonkit_runtime.steps import StepError


class _Stage:
    """`copied` are the inputs that somebody else may still read when this stage has written into them."""

    def __init__(self, spec: StageSpec, runner: Runner, copied: frozenset[str]) -> None:
        self.spec, self.runner, self._copied = spec, runner, copied
        self._takes, self._gives = tuple(spec.takes.items()), spec.gives
        self._wanted = frozenset(spec.takes.values())
        # Whether the flow's names are the stage's own, so that nothing has to be named anew.
        self._takes_same = not copied and all(inside == name for inside, name in self._takes)
        self._gives_same = all(spec.gives.get(tensor.name) == tensor.name for tensor in spec.outputs)

    def run(self, given: Mapping[str, Array], made: Mapping[str, Array], live: Batch) -> Tensors:
        """The stage's outputs by the flow's names; bad items are in `live.failed`. Raises StageError.

        `given` came with the requests, `made` by the stages before. `live.lengths` has the flow's names, too.
        """
        live.tensors = self._taken(given, made)
        told = live.lengths
        taken: Iterable[str] = ()
        live.lengths = {}
        if told:
            live.lengths = {i: told[name] for i, name in self._takes if name in told and i in live.tensors}
            taken = frozenset(live.lengths)
        try:
            answer = self.runner.run(live)
        except StageError:  # of one of two stages that run as one
            raise
        except Exception as error:
            raise StageError(self.spec.name, error) from error
        try:
            found = check_outputs(answer, self.spec.outputs, live.size if live.batched else None)
        except ValueError as error:
            raise StageError(self.spec.name, StepError(f"it {error}")) from error
        gives, own = self._gives, live.lengths
        live.lengths = told | {gives[n]: own[n] for n in own.keys() - taken if n in gives} if own else told
        if self._gives_same:
            return found
        named: Tensors = {}
        for inside, array in found.items():
            if inside in gives:
                named[gives[inside]] = array
        return named

    def _taken(self, given: Mapping[str, Array], made: Mapping[str, Array]) -> Mapping[str, Array]:
        """The stage's inputs by its own names, without the optional ones that are not there."""
        if self._takes_same and not made and given.keys() == self._wanted:
            return given
        if type(given) is Joined and not self._copied:
            takes = {inside: name for inside, name in self._takes if name in made or name in given}
            if made.keys().isdisjoint(takes.values()):
                return given.renamed(takes)
        tensors: Tensors = {}
        for inside, name in self._takes:
            if name in made:
                array = made[name]
            elif name in given:
                array = given[name]
            else:
                continue
            tensors[inside] = array.copy() if inside in self._copied else array
        return tensors


class FlowRunner:
    """The stages in order. A request that a stage has failed goes no further, as in an ensemble."""

    def __init__(
        self, program: FlowProgram, parameters: Parameters, folder: Path, gpu: int | None, log: Callable[[str], None]
    ) -> None:
        self._outputs = parameters.outputs
        _check_wiring(program, parameters)
        self._stages: list[_Stage] = []
        self._runners: list[Runner] = []
        try:
            joined = _joined(program, parameters, folder, gpu, log)
            self._runners += [stage.runner for stages in joined.values() for stage in stages]
            for spec in program.stages:
                if spec.name in joined:
                    self._stages += joined[spec.name]
                    continue
                signature = Signature(
                    spec.inputs, spec.outputs, parameters.max_batch_size, parameters.limits, gpu, parameters.model
                )
                runner = _load(spec, signature, folder, parameters.model)
                self._runners.append(runner)
                self._stages.append(_Stage(spec, runner, _shared(spec, program, parameters)))
        except BaseException:
            self.close()
            raise
        # Whether the stages have checked all that the model has declared, if no item has failed.
        checked = {
            stage.spec.gives[tensor.name]: (tensor.dtype, tensor.dims)
            for stage in self._stages for tensor in stage.spec.outputs if tensor.name in stage.spec.gives
        }  # fmt: skip
        self.checked = all(checked.get(tensor.name) == (tensor.dtype, tensor.dims) for tensor in self._outputs)
        answers = {tensor.name for tensor in self._outputs}
        taken = [frozenset(stage.spec.takes.values()) for stage in self._stages]
        self._later = [answers.union(*taken[number + 1 :]) for number in range(len(taken))]

    def run(self, batch: Batch) -> Tensors:
        """The flow's outputs; rows of failed requests hold zeros or empty texts. Raises StageError."""
        given: Mapping[str, Array] = batch.tensors
        made: Tensors = {}
        live = Batch(given, batch.counts, batch.batched, may_wait=batch.may_wait)
        items: npt.NDArray[np.intp] | None = None  # of `batch`, one for each item of `live`; None: all of them
        requests: Sequence[int] = range(len(batch.counts))  # of `batch`, one for each of `live`
        for number, stage in enumerate(self._stages):
            made |= stage.run(given, made, live)
            if not (live.failed or live.broken):
                continue
            if items is None:
                items = np.arange(batch.size)
            for index, message in live.failed.items():
                batch.fail(int(items[index]), message)
            for index, message in live.broken.items():
                batch.broken[requests[index]] = f"stage {stage.spec.name}: {message}"
            good, kept = _without_failed(live)
            if not kept.size:
                return {tensor.name: _empty_rows(tensor, batch) for tensor in self._outputs}
            # What no later stage takes may lie on a GPU, where nobody picks rows.
            later = self._later[number]
            given, made = (
                {name: tensors[name][kept] for name in tensors if name in later} for tensors in (given, made)
            )
            items, requests = items[kept], [requests[index] for index in good]
            lengths = {name: tuple(told[index] for index in good) for name, told in live.lengths.items()}
            counts = tuple(live.counts[index] for index in good)
            live = Batch({}, counts, batch.batched, lengths=lengths, may_wait=batch.may_wait)
        outputs: Tensors = {}
        for tensor in self._outputs:
            name = tensor.name
            outputs[name] = made[name] if name in made else given[name]
        if live.lengths:
            self._tell_lengths(batch, requests, live.lengths)
        if items is None or len(items) == batch.size:
            return outputs
        return {name: _spread(array, items, batch.size) for name, array in outputs.items()}

    def _tell_lengths(
        self, batch: Batch, requests: Sequence[int], lengths: Mapping[str, tuple[int, ...]]
    ) -> None:  # fmt: skip
        """The lengths of outputs, of those of the batch's `requests` that got to the end."""
        for tensor in self._outputs:
            if (told := lengths.get(tensor.name)) is not None:
                own = dict(zip(requests, told, strict=True))
                batch.lengths[tensor.name] = tuple(own.get(request, 0) for request in range(len(batch.counts)))
                if -1 in tensor.dims:
                    batch.axes[tensor.name] = 1 + tensor.dims.index(-1)

    def close(self) -> None:
        """Frees every stage."""
        for runner in self._runners:
            runner.close()


def _joined(
    program: FlowProgram, parameters: Parameters, folder: Path, gpu: int | None, log: Callable[[str], None]
) -> dict[str, list[_Stage]]:
    """Steps that run with their engine as one stage: the engine's name -> that stage, the steps' -> nothing."""
    engines = [stage.program for stage in program.stages if isinstance(stage.program, EngineProgram)]
    if all(engine.buffers is None or engine.buffers.preprocess == "cpu" for engine in engines):
        return {}
    # Models that carry the runtime have this part of it where they need it alone.
    from tritonkit_runtime.programs.preprocessed import preprocessed

    found: dict[str, list[_Stage]] = {}
    for pair, runner in preprocessed(program, parameters, folder, gpu, log):
        found |= {pair.steps.name: [], pair.engine.name: [_Stage(pair.spec, runner, frozenset())]}
    return found


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


def _without_failed(batch: Batch) -> tuple[list[int], npt.NDArray[np.intp]]:
    """The requests that have not failed, and the items of all of them."""
    ends, failed = (0, *itertools.accumulate(batch.counts)), batch.errors()
    good = [request for request in range(len(batch.counts)) if request not in failed]
    items = [np.arange(ends[request], ends[request + 1]) for request in good]
    return good, np.concatenate(items) if items else np.arange(0)


def _spread(array: Array, items: npt.NDArray[np.intp], size: int) -> Array:
    """[size, ...] with the rows of `array` at `items`."""
    spread = np.full((size, *array.shape[1:]), b"" if array.dtype == object else 0, array.dtype)
    spread[items] = array
    return spread


def _empty_rows(tensor: TensorSpec, batch: Batch) -> Array:
    """What stands for an output when every request has failed: nobody will see it."""
    lengths = [max(length, 0) for length in tensor.dims]
    shape = (batch.size, *lengths) if batch.batched else tuple(lengths)
    return np.full(shape, b"" if tensor.dtype == "STRING" else 0, ALL_DTYPES[tensor.dtype])


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
