"""Batch inputs and outputs, which tell a model about the batch that it was given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generator.lint.model import Model
from generator.lint.rule import ERROR, Finding, rule
from generator.lint.words import enum_name
from generator.pbtxt.words import some

NEEDS = ("batch_input", "batch_output")
_SOURCE = "core model_config_utils.cc, ValidateBatchIO"


def _entries(model: Model) -> Iterator[tuple[str, str, Any]]:
    """Every batch input and output: its path, what it is called, itself."""
    config = model.config
    for kind, entries in (("batch_input", config.batch_input), ("batch_output", config.batch_output)):
        for i, entry in enumerate(entries):
            yield f"{kind}[{i}]", kind, entry


@rule("TK660", ERROR, _SOURCE)
def one_source(model: Model) -> Iterator[Finding]:
    """A batch input or output that has not exactly one source.

    Every kind of them is computed from the shapes of one input, which `source_input` names.

    Bad:
        batch_input [ { kind: BATCH_ELEMENT_COUNT target_name: "n" data_type: TYPE_INT32 } ]
    Good:
        batch_input [ { kind: BATCH_ELEMENT_COUNT target_name: "n" data_type: TYPE_INT32 source_input: "x" } ]
    """
    for path, kind, entry in _entries(model):
        if len(entry.source_input) != 1:
            text = f"this {kind} has {len(entry.source_input)} source inputs; valid: 1"
            place = f"{path}.source_input[1]" if entry.source_input else path
            yield model.found(place, text, "name the one input that it is computed from")


@rule("TK661", ERROR, _SOURCE)
def unknown_source(model: Model) -> Iterator[Finding]:
    """A batch input or output whose source is no input of the model.

    `source_input` names one of the model's inputs. An output, or another batch input, cannot be a source.

    Bad:
        batch_input [ { target_name: "n" data_type: TYPE_INT32 source_input: "y" } ]
    Good:
        batch_input [ { target_name: "n" data_type: TYPE_INT32 source_input: "x" } ]
    """
    if model.is_open or not (model.config.batch_input or model.config.batch_output):
        return
    names = {tensor.name: None for tensor in model.completed.input}
    for path, kind, entry in _entries(model):
        if len(entry.source_input) == 1 and entry.source_input[0] not in names:
            text = f"`{entry.source_input[0]}`, the source of this {kind}, is no input; inputs are: {some(names)}"
            yield model.found(f"{path}.source_input[0]", text, "name one of them")


@rule("TK662", ERROR, _SOURCE)
def batch_input_type(model: Model) -> Iterator[Finding]:
    """A batch input that is neither TYPE_INT32 nor TYPE_FP32.

    The server writes the numbers of a batch input itself, in one of these two types, and there is no default.

    Bad:
        batch_input [ { target_name: "n" data_type: TYPE_INT64 source_input: "x" } ]
    Good:
        batch_input [ { target_name: "n" data_type: TYPE_INT32 source_input: "x" } ]
    """
    known = {"TYPE_INT32", "TYPE_FP32"}
    for i, entry in enumerate(model.config.batch_input):
        name = enum_name(entry, "data_type")
        if name not in known:
            found = f"is {name}" if entry.data_type else "is not given"
            text = f"the data_type of this batch_input {found}; valid: TYPE_INT32, TYPE_FP32"
            yield model.found(f"batch_input[{i}].data_type", text, "write one of the two")


@rule("TK663", ERROR, _SOURCE)
def batch_output_targets(model: Model) -> Iterator[Finding]:
    """A batch output whose target is no output of the model, or is named twice.

    `target_name` of a batch output lists outputs of the model, which the server then splits by the shapes of the
    source. One list names each of them once.

    Bad:
        batch_output [ { target_name: "w" source_input: "x" } ]
    Good:
        batch_output [ { target_name: "y" source_input: "x" } ]
    """
    if not model.config.batch_output:
        return
    names = {tensor.name: None for tensor in model.completed.output}
    for i, entry in enumerate(model.config.batch_output):
        told: set[str] = set()
        for j, target in enumerate(entry.target_name):
            place = f"batch_output[{i}].target_name[{j}]"
            if target in told:
                yield model.found(place, f"target `{target}` is named twice", "name it once")
            elif target not in names and not model.is_open:
                text = f"`{target}`, a target of this batch_output, is no output; outputs are: {some(names)}"
                yield model.found(place, text, "name one of them")
            told.add(target)


@rule("TK664", ERROR, "seen: the server ends with signal 11 when it loads such a model")
def batch_output_without_target(model: Model) -> Iterator[Finding]:
    """A batch output without a target ends the server.

    The server does not look whether `target_name` is given, and a backend then reads the first name of an empty list.
    The whole server ends with it, and every other model.

    Bad:
        batch_output [ { source_input: "x" } ]
    Good:
        batch_output [ { target_name: "y" source_input: "x" } ]
    """
    for i, entry in enumerate(model.config.batch_output):
        if not entry.target_name:
            text = "this batch_output has no target_name, which ends the whole server when it loads the model"
            yield model.found(f"batch_output[{i}]", text, "name the outputs that it is for")


@rule("TK775", ERROR, _SOURCE)
def unknown_kind(model: Model) -> Iterator[Finding]:
    """A kind of batch input or output that is given by a number that stands for none.

    Enums may be written as numbers, and a number of a later release, or a wrong one, is read like any other. The
    server then finds no such kind and refuses the model.

    Bad:
        batch_input [ { kind: 9 target_name: "n" data_type: TYPE_INT32 source_input: "x" } ]
    Good:
        batch_input [ { kind: 4 target_name: "n" data_type: TYPE_INT32 source_input: "x" } ]
    """
    for path, kind, entry in _entries(model):
        known = entry.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number
        if entry.kind not in known:
            names = ", ".join(value.name for value in known.values())
            yield model.found(
                f"{path}.kind", f"this {kind} has the kind {entry.kind}; valid: {names}", "write its name"
            )
