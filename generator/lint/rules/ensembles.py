"""Ensembles by themselves: what does not belong into one, and tensors that lead nowhere or come from nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from generator.lint.ensemble import STEPS, Circle, flow_of
from generator.lint.model import Model
from generator.lint.rule import ERROR, WARNING, Finding, rule
from generator.pbtxt.words import listed

NEEDS = ("ensemble_scheduling",)
_SOURCE = "core model_config_utils.cc, ValidateEnsembleSchedulingConfig"
_GRAPH = "core model_config_utils.cc, BuildEnsembleGraph"
_NOT_OF_ENSEMBLES = ("instance_group", "optimization", "model_warmup")


@rule("TK680", ERROR, _SOURCE)
def not_of_ensembles(model: Model) -> Iterator[Finding]:
    """An ensemble with instances, optimization or warm-up.

    An ensemble runs nothing itself: it has no instances to place, to tune or to warm up. The server refuses
    `instance_group`, `optimization` (even an empty one) and `model_warmup` in it; they belong to its models.

    Bad:
        optimization { }
    Good:
        platform: "ensemble"
    """
    if not model.is_ensemble:
        return
    config = model.config
    for name in _NOT_OF_ENSEMBLES:
        if config.HasField(name) if name == "optimization" else getattr(config, name):
            edits = model.removed(name) if name == "optimization" else ()
            hint = "remove it here; the models of its steps may have it"
            yield model.found(name, f"an ensemble has no `{name}`", hint, edits=edits)


@rule("TK681", ERROR, _SOURCE)
def no_steps(model: Model) -> Iterator[Finding]:
    """An ensemble without a step.

    The steps are all that an ensemble does, and the server wants at least one.

    Bad:
        ensemble_scheduling { }
    Good:
        ensemble_scheduling {
          step {
    """
    config = model.config
    if config.HasField("ensemble_scheduling") and not config.ensemble_scheduling.step:
        yield model.found("ensemble_scheduling", "an ensemble needs at least one step", "write `step { … }` in it")


@rule("TK682", ERROR, _GRAPH)
def half_a_step(model: Model) -> Iterator[Finding]:
    """A step without a model, inputs or outputs.

    A step says which model it runs (`model_name`), which tensors of the ensemble the model reads (`input_map`), and
    what its outputs are called in the ensemble (`output_map`). The server wants all three, and no map is empty.

    Bad:
        step {
          model_name: "adder"
          model_version: -1
          input_map { key: "x" value: "a" }
        }
    Good:
        step {
          model_name: "adder"
          model_version: -1
          input_map { key: "x" value: "a" }
          output_map { key: "y" value: "b" }
        }
    """
    if not model.is_ensemble:
        return
    hints = {
        "model_name": "name the model that it runs",
        "input_map": 'say which tensor each input gets: `input_map { key: "…" value: "…" }`',
        "output_map": 'name the tensor that an output becomes: `output_map { key: "…" value: "…" }`',
    }
    for index, step in enumerate(model.config.ensemble_scheduling.step):
        missing = [name for name in hints if not getattr(step, name)]
        if missing:
            of = f" of `{step.model_name}`" if step.model_name else f" {index}"
            hint = "; ".join(hints[name] for name in missing)
            yield model.found(f"{STEPS}[{index}]", f"step{of} has no {listed(missing)}", hint)


@rule("TK683", ERROR, "core model_config_utils.cc, BuildEnsembleGraph")
def written_twice(model: Model) -> Iterator[Finding]:
    """A tensor that is written twice.

    Each tensor of an ensemble comes from one output of one step, or from the request. The server refuses a second
    output that is mapped to the same tensor, in the same step or another one.

    Bad:
        output_map { key: "y" value: "b" }
        output_map { key: "z" value: "b" }
    Good:
        output_map { key: "y" value: "b" }
    """
    flow = flow_of(model)
    if flow is None:
        return
    for tensor in flow.tensors.values():
        for which in range(1, len(tensor.writers)):
            first = flow.steps[tensor.writers[0][0]].model_name
            path = flow.written_at(tensor.name, which)
            text = f"tensor `{tensor.name}` is already written by a step of `{first}`"
            yield model.found(path, text, "give each output a tensor of its own")


@rule("TK684", ERROR, _SOURCE)
def unused_input(model: Model) -> Iterator[Finding]:
    """An input of an ensemble that no step reads.

    A request would have to give a tensor that nothing uses. The server refuses that: most often a name is misspelt
    in an `input_map`.

    Bad:
        input [ { name: "image" data_type: TYPE_FP32 dims: [ 4 ] } ]
    Good:
        input [ { name: "a" data_type: TYPE_FP32 dims: [ 4 ] } ]
    """
    flow = flow_of(model)
    if flow is None:
        return
    indexes = _first(flow.inputs)
    for name in flow.unused_inputs:
        if name:
            close = flow.meant.get(name)
            hint = f"steps read `{close}`, which nothing writes: use one name" if close else "map it, or remove it"
            index = indexes[name]
            yield model.found(f"input[{index}].name", f"no step reads the ensemble's input `{name}`", hint)


@rule("TK685", ERROR, _SOURCE)
def unwritten_output(model: Model) -> Iterator[Finding]:
    """An output of an ensemble that no step writes.

    An output has the name of a tensor that one of the steps maps in its `output_map`. Without such a step the server
    refuses the ensemble.

    Bad:
        output [ { name: "scores" data_type: TYPE_FP32 dims: [ 4 ] } ]
    Good:
        output [ { name: "c" data_type: TYPE_FP32 dims: [ 4 ] } ]
    """
    flow = flow_of(model)
    if flow is None:
        return
    indexes = _first(flow.outputs)
    for name in flow.absent_outputs:
        if name:
            close = flow.meant.get(name)
            hint = f"a step writes `{close}`, which nothing reads: use one name" if close else "map it in a step"
            index = indexes[name]
            yield model.found(f"output[{index}].name", f"no step writes the ensemble's output `{name}`", hint)


def _first(names: Sequence[str]) -> dict[str, int]:
    """Where each name stands first."""
    return {name: index for index, name in reversed(list(enumerate(names)))}


@rule("TK686", ERROR, _SOURCE)
def unread_tensor(model: Model) -> Iterator[Finding]:
    """A tensor that is written and never read.

    What a step maps in its `output_map` has to be read by another step or be an output of the ensemble. An output of
    a model that nobody needs is left out of the map.

    Bad:
        output_map { key: "y" value: "b" }
        output_map { key: "z" value: "d" }
    Good:
        output_map { key: "y" value: "b" }
    """
    flow = flow_of(model)
    if flow is None:
        return
    for name in flow.unread:
        text = f"nothing reads tensor `{name}`, and it is no output of the ensemble"
        yield model.found(flow.written_at(name), text, "leave it out of the map, or use it")


@rule("TK687", ERROR, _SOURCE)
def lost_tensor(model: Model) -> Iterator[Finding]:
    """A step reads a tensor that nothing writes.

    What a step reads comes from the request or from another step. Of anything else the server says that an output
    behind it is not written, or that the tensor is unused.

    Bad:
        input_map { key: "x" value: "nowhere" }
    Good:
        input_map { key: "x" value: "b" }
    """
    flow = flow_of(model)
    if flow is None:
        return
    for name in flow.lost:
        close = flow.meant.get(name)
        hint = f"did you mean `{close}`?" if close else "make it an input of the ensemble, or map an output to it"
        text = f"no step writes tensor `{name}`, and it is no input of the ensemble"
        yield model.found(flow.read_at(name), text, hint)


@rule("TK688", ERROR, _SOURCE)
def steps_in_a_circle(model: Model) -> Iterator[Finding]:
    """Steps that wait for each other.

    A step runs when all that it reads is there. In a circle none is ever the first, so that nothing behind them is
    written, and the server refuses the ensemble.

    Bad:
        input_map { key: "x" value: "a" }
        input_map { key: "z" value: "c" }
    Good:
        input_map { key: "x" value: "a" }
    """
    flow = flow_of(model)
    if flow is None:
        return
    for circle in flow.circles():
        steps = [flow.steps[index] for index in circle]
        names = Circle([step.model_name for step in steps]).shown("")
        last = set(steps[-1].output_map.values())
        own = next(own for own, name in sorted(steps[0].input_map.items()) if name in last)
        path = flow.path(circle[0], "input_map", own)
        yield model.found(
            path, f"steps wait for each other: {names}", "let one of them do without the other's tensor"
        )


@rule("TK689", WARNING, "core ensemble_scheduler.cc; seen: accepted, and requests get no answer")
def writes_an_input(model: Model) -> Iterator[Finding]:
    """A step writes an input of the ensemble.

    The server loads such an ensemble, and then a tensor that is already there comes a second time: requests wait for
    ever.

    Bad:
        output_map { key: "y" value: "a" }
    Good:
        output_map { key: "y" value: "b" }
    """
    flow = flow_of(model)
    if flow is None:
        return
    for tensor in flow.tensors.values():
        if tensor.is_input and tensor.writers:
            text = f"tensor `{tensor.name}` is an input of the ensemble, and a step writes it: requests get no answer"
            path = flow.written_at(tensor.name)
            yield model.found(path, text, "give the step's output a name of its own")
