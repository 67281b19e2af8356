"""What an ensemble's steps map: the inputs and outputs of their models, by name."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

from generator.lint.ensemble import MOST_CHOICES, guessed, inputs_of, members, outputs_of
from generator.lint.model import Model, kept
from generator.lint.rule import ERROR, Finding, rule
from generator.pbtxt.words import some

NEEDS = ("ensemble_scheduling",)
_MOST_TOLD = 20  # inputs of one step
_MAPPING = "core ensemble_utils.cc, ValidateTensorMapping"


@rule("TK695", ERROR, _MAPPING)
def no_such_input(model: Model) -> Iterator[Finding]:
    """A step maps an input that its model does not have.

    The key of an `input_map` is the name of an input as the model's own config.pbtxt says it. Control inputs of a
    sequence batcher are none: the server sets them itself.

    Bad:
        input_map { key: "xx" value: "a" }
    Good:
        input_map { key: "x" value: "a" }
    """
    for index, step, member in members(model):
        if member.is_open:
            continue
        names = inputs_of(member).named
        for own, close in _unknown(model, step.input_map, names):
            hint = f"did you mean `{close}`?" if close else _has(member, names, "input")
            if own in _controls(member):
                hint = "leave it out: it is a control of the sequence batcher, which the server sets"
            path = f"ensemble_scheduling.step[{index}].input_map[{own}].key"
            yield model.found(path, f"model `{member.name}` has no input `{own}`", hint)


@kept
def _controls(member: Model) -> Collection[str]:
    return {control.name for control in member.config.sequence_batching.control_input}


def _unknown(model: Model, mapping: Collection[str], names: Collection[str]) -> Iterator[tuple[str, str]]:
    """The names that a step maps and its model does not have, each with the one that may be meant."""
    unknown = sorted(own for own in mapping if own not in names)
    count = len(names) - len(mapping) + len(unknown)
    left = [name for name in names if name not in mapping] if unknown and count <= MOST_CHOICES else []
    for own in unknown:
        yield own, guessed(model.repository, own, left) or (left[0] if len(left) == 1 else "")


def _has(member: Model, names: Collection[str], kind: str) -> str:
    return f"`{member.name}` has {some(names)}" if names else f"`{member.name}` has no {kind} at all"


@rule("TK696", ERROR, _MAPPING)
def no_such_output(model: Model) -> Iterator[Finding]:
    """A step maps an output that its model does not have.

    The key of an `output_map` is the name of an output as the model's own config.pbtxt says it.

    Bad:
        output_map { key: "yy" value: "b" }
    Good:
        output_map { key: "y" value: "b" }
    """
    for index, step, member in members(model):
        if member.is_open:
            continue
        names = outputs_of(member).named
        for own, close in _unknown(model, step.output_map, names):
            hint = f"did you mean `{close}`?" if close else _has(member, names, "output")
            path = f"ensemble_scheduling.step[{index}].output_map[{own}].key"
            yield model.found(path, f"model `{member.name}` has no output `{own}`", hint)


@rule("TK697", ERROR, _MAPPING)
def missing_input(model: Model) -> Iterator[Finding]:
    """A step leaves out an input of its model.

    Every input that is not `optional` has to get a tensor of the ensemble.

    Bad:
        model_name: "two"
        model_version: -1
        input_map { key: "x" value: "a" }
        output_map { key: "y" value: "c" }
    Good:
        model_name: "two"
        model_version: -1
        input_map { key: "x" value: "a" }
        input_map { key: "z" value: "a" }
        output_map { key: "y" value: "c" }
    """
    for index, step, member in members(model):
        tensors = inputs_of(member)
        # A name that the model does not have stands for the one that it lacks: that is told.
        unknown = sum(own not in tensors.named for own in step.input_map)
        missing = len(tensors.needed) - sum(own in tensors.needed for own in step.input_map)
        if unknown and missing <= unknown and not member.is_open:
            continue
        lacking = (name for name in tensors.needed if name not in step.input_map) if missing else ()
        path = f"ensemble_scheduling.step[{index}].model_name"
        for name in islice(lacking, _MOST_TOLD):
            hint = f'add `input_map {{ key: "{name}" value: "…" }}`'
            text = f"input `{name}` of model `{member.name}` gets no tensor"
            yield model.found(path, text, hint)
        if missing > _MOST_TOLD:
            text = f"{missing - _MOST_TOLD} more inputs of model `{member.name}` get no tensor"
            yield model.found(path, text, "map them, too")


@rule("TK790", ERROR, _MAPPING)
def output_of_two(model: Model) -> Iterator[Finding]:
    """A step maps an output whose name its model has twice.

    The server cannot tell which of the two becomes the ensemble's tensor.

    Bad:
        output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }, { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]
    Good:
        output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }, { name: "z" data_type: TYPE_FP32 dims: [ 4 ] } ]
    """
    for index, step, member in members(model):
        names = outputs_of(member).named
        for own in sorted(step.output_map):
            if len(names.get(own, ())) > 1:
                path = f"ensemble_scheduling.step[{index}].output_map[{own}].key"
                text = f"model `{member.name}` has {len(names[own])} outputs called `{own}`"
                yield model.found(path, text, f"give them names of their own in `{member.name}`")
