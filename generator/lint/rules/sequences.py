"""The sequence batcher: its control tensors, and how it chooses what to run together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generator.lint.model import Model, kept
from generator.lint.rule import ERROR, NOTE, WARNING, Finding, rule
from generator.lint.words import enum_name

NEEDS = ("sequence_batching",)
_CONFIG = "core model_config_utils.cc, ValidateModelConfig"
_CONTROL = "core model_config_utils.cc, GetBooleanSequenceControlProperties"
_LISTS = ("int32_false_true", "fp32_false_true", "bool_false_true")
_ID_TYPES = ("TYPE_INT32", "TYPE_INT64", "TYPE_UINT32", "TYPE_UINT64", "TYPE_STRING")
_CORRID = "CONTROL_SEQUENCE_CORRID"
_PAIRS = ("CONTROL_SEQUENCE_START", "CONTROL_SEQUENCE_READY", "CONTROL_SEQUENCE_END")  # false and true
_CONTROLS = "sequence_batching.control_input"


@kept
def _batcher(model: Model) -> Any:
    """The model's sequence batcher; None where it has none."""
    return model.config.sequence_batching if model.config.HasField("sequence_batching") else None


@kept
def _tensors(model: Model) -> tuple[Any, ...]:
    """Its control tensors."""
    batcher = _batcher(model)
    return tuple(batcher.control_input) if batcher is not None else ()


def _controls(model: Model) -> Iterator[tuple[str, Any, str]]:
    """Each control of each tensor: where it stands, itself, and its kind."""
    for i, tensor in enumerate(_tensors(model)):
        for j, control in enumerate(tensor.control):
            yield f"{_CONTROLS}[{i}].control[{j}]", control, enum_name(control, "kind")


@rule("TK645", ERROR, _CONTROL, local=True)
def unnamed_control(model: Model) -> Iterator[Finding]:
    """A control tensor of the sequence batcher has no name.

    The server fills control tensors in by name (start, ready, end, the sequence's id), next to the inputs of a
    request. One without a name is refused, even if it lists no control.

    Bad:
        control_input {
          control { kind: CONTROL_SEQUENCE_START bool_false_true: [ false, true ] }
        }
    Good:
        control_input {
          name: "start"
          control { kind: CONTROL_SEQUENCE_START bool_false_true: [ false, true ] }
        }
    """
    for i, tensor in enumerate(_tensors(model)):
        if not tensor.name:
            text = "a control tensor has no `name`; each needs the one that the model reads it by"
            yield model.found(f"{_CONTROLS}[{i}]", text, 'add `name: "…"`')


@rule("TK646", ERROR, _CONTROL)
def control_tensor_twice(model: Model) -> Iterator[Finding]:
    """Two control_inputs of the sequence batcher name the same tensor.

    A tensor carries one control. The server refuses a name that two `control_input` give, whatever controls they
    list, and even if they list none.

    Bad:
        control_input { name: "flag" control { kind: CONTROL_SEQUENCE_START bool_false_true: [ false, true ] } }
        control_input { name: "flag" control { kind: CONTROL_SEQUENCE_END bool_false_true: [ false, true ] } }
    Good:
        control_input { name: "start" control { kind: CONTROL_SEQUENCE_START bool_false_true: [ false, true ] } }
        control_input { name: "end" control { kind: CONTROL_SEQUENCE_END bool_false_true: [ false, true ] } }
    """
    seen: set[str] = set()
    for i, tensor in enumerate(_tensors(model)):
        if tensor.name and tensor.name in seen:
            text = f"the control tensor `{tensor.name}` stands there already; each may be listed once"
            yield model.found(f"{_CONTROLS}[{i}].name", text, "give each control a tensor of its own")
        seen.add(tensor.name)


@rule("TK647", ERROR, _CONTROL)
def control_kind_twice(model: Model) -> Iterator[Finding]:
    """The sequence batcher has two controls of one kind.

    Start, ready, end and the sequence's id are each given by one control at most. A control without `kind` is one of
    CONTROL_SEQUENCE_START, the enum's first value, which makes a second one easily.

    Bad:
        control_input { name: "first" control { kind: CONTROL_SEQUENCE_START bool_false_true: [ false, true ] } }
        control_input { name: "last" control { kind: CONTROL_SEQUENCE_START bool_false_true: [ false, true ] } }
    Good:
        control_input { name: "first" control { kind: CONTROL_SEQUENCE_START bool_false_true: [ false, true ] } }
        control_input { name: "last" control { kind: CONTROL_SEQUENCE_END bool_false_true: [ false, true ] } }
    """
    seen: set[str] = set()
    for path, _, kind in _controls(model):
        if kind in seen and (kind == _CORRID or kind in _PAIRS):
            text = f"a second control of kind {kind}; each kind may be given once"
            yield model.found(f"{path}.kind", text, "without `kind`, a control is CONTROL_SEQUENCE_START")
        seen.add(kind)


@rule("TK648", ERROR, _CONTROL)
def control_values(model: Model) -> Iterator[Finding]:
    """A start, ready or end control has no pair of values for false and true.

    Such a control takes two values, and the server must know both and their type: exactly one of int32_false_true,
    fp32_false_true and bool_false_true, with two entries. Everything else is refused.

    Bad:
        control { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 1 ] }
    Good:
        control { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] }
    """
    for path, control, kind in _controls(model):
        if kind not in _PAIRS:
            continue
        given = [name for name in _LISTS if getattr(control, name)]
        hint = "such as `int32_false_true: [ 0, 1 ]`"
        if len(given) != 1:
            what = " and ".join(f"`{name}`" for name in given) or "none of its lists"
            yield model.found(path, f"{kind} has {what}; it needs exactly one of {', '.join(_LISTS)}", hint)
        elif len(values := getattr(control, given[0])) != 2:
            text = f"`{given[0]}` has {len(values)} {'entry' if len(values) == 1 else 'entries'}; it takes two"
            yield model.found(f"{path}.{given[0]}", f"{text}, the values for false and for true", hint)


@rule("TK649", ERROR, f"{_CONFIG} and GetTypedSequenceControlProperties")
def sequence_id_type(model: Model) -> Iterator[Finding]:
    """The control that carries the sequence's id has no usable type.

    CONTROL_SEQUENCE_CORRID hands the id itself to the model, so it takes a `data_type` (32 or 64 bit integers, or
    TYPE_STRING) and none of the *_false_true lists. Without `data_type` the server refuses it, too.

    Bad:
        control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32 }
    Good:
        control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 }
    """
    for path, control, kind in _controls(model):
        if kind != _CORRID:
            continue
        given = next((name for name in _LISTS if getattr(control, name)), None)
        name = enum_name(control, "data_type")
        if given:
            text = f"`{given}` stands with {_CORRID}, which hands over the id itself"
            yield model.found(f"{path}.{given}", text, f"give `data_type` instead: {', '.join(_ID_TYPES)}")
        elif name not in _ID_TYPES:
            what = "no `data_type`" if name == "TYPE_INVALID" else f"`data_type: {name}`"
            text = f"{_CORRID} has {what}; valid are {', '.join(_ID_TYPES)}"
            yield model.found(f"{path}.data_type", text, "ids of clients are 64 bit integers or text")


@rule("TK780", ERROR, _CONFIG, local=True)
def slot_utilization(model: Model) -> Iterator[Finding]:
    """minimum_slot_utilization is not between 0 and 1.

    The `direct` strategy waits for its delay until this share of the batch's slots has a request. A share below 0 or
    above 1 is refused; 0 waits for one request alone.

    Bad:
        direct { minimum_slot_utilization: 50 max_queue_delay_microseconds: 200 }
    Good:
        direct { minimum_slot_utilization: 0.5 max_queue_delay_microseconds: 200 }
    """
    batcher = _batcher(model)
    share = batcher.direct.minimum_slot_utilization if batcher is not None else 0
    if share < 0 or share > 1:
        path = "sequence_batching.direct.minimum_slot_utilization"
        yield model.found(path, f"{share:g} is no share of the slots; valid is 0 to 1", "half of them is 0.5")


@rule("TK781", ERROR, _CONFIG)
def oldest_preferred_sizes(model: Model) -> Iterator[Finding]:
    """A preferred size of the `oldest` strategy is above max_batch_size or below 1.

    The server refuses sizes that no batch can have. Without max_batch_size, or with 0, the model takes no batches and
    every preferred size is too large.

    Bad:
        oldest { max_candidate_sequences: 8 preferred_batch_size: [ 4, 16 ] }
    Good:
        oldest { max_candidate_sequences: 8 preferred_batch_size: [ 4, 8 ] }
    """
    batcher = _batcher(model)
    largest = model.config.max_batch_size
    for i, size in enumerate(batcher.oldest.preferred_batch_size if batcher is not None else ()):
        if not 1 <= size <= largest:
            path = f"sequence_batching.oldest.preferred_batch_size[{i}]"
            valid = f"valid is 1 to max_batch_size, which is {largest}" if largest > 0 else "max_batch_size is 0"
            yield model.found(path, f"a preferred batch of {size}; {valid}", "take sizes that a batch can have")


@rule("TK782", WARNING, "core infer_request.cc, AddOverrideInput")
def control_is_an_input(model: Model) -> Iterator[Finding]:
    """A control tensor of the sequence batcher is an input of the model, too.

    The server accepts it, demands the input of every client, and then puts the control's value in its place: what
    the client sent never reaches the model.

    Bad:
        input { name: "start" data_type: TYPE_BOOL dims: 1 }
    Good:
        input { name: "x" data_type: TYPE_FP32 dims: 1 }
    """
    controls = _tensors(model)
    inputs = {tensor.name for tensor in model.config.input} if controls else set()
    for i, tensor in enumerate(controls):
        if tensor.name in inputs and tensor.control:
            text = f"the control tensor `{tensor.name}` is an input, too: what clients send in it is replaced"
            yield model.found(f"{_CONTROLS}[{i}].name", text, "take it out of `input`: the server adds it by itself")


@rule("TK783", NOTE, "core sequence_batch_scheduler.cc, Create")
def candidates(model: Model) -> Iterator[Finding]:
    """max_candidate_sequences of the `oldest` strategy is not given.

    Without it, or with 0 or less, the server follows max_batch_size sequences at a time (one where there is none),
    and all others wait for one of these to end. That is the most that one batch can hold: as soon as one of them has
    no request at hand, batches are smaller than they could be.

    Bad:
        oldest { max_queue_delay_microseconds: 100 }
    Good:
        oldest { max_candidate_sequences: 64 max_queue_delay_microseconds: 100 }
    """
    batcher = _batcher(model)
    if batcher is not None and batcher.HasField("oldest") and batcher.oldest.max_candidate_sequences < 1:
        largest = model.config.max_batch_size
        follows = f"{largest} sequences at a time, as many as max_batch_size" if largest > 1 else "one at a time"
        yield model.found(
            "sequence_batching.oldest.max_candidate_sequences",
            f"max_candidate_sequences is {batcher.oldest.max_candidate_sequences}: each instance follows {follows}",
            "give it as many as are open at once",
        )


@rule("TK784", WARNING, "core sequence_batch_scheduler.cc, CreateBooleanControlTensors")
def empty_control(model: Model) -> Iterator[Finding]:
    """A control tensor tells the model nothing, or two things at once.

    The server accepts a `control_input` without a control or with a kind given by a number that stands for none (it
    is never filled in), a control whose values for false and true are equal, and one tensor with two controls (one of
    them is overwritten). The model reads it, and learns nothing.

    Bad:
        control_input { name: "start" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 1, 1 ] } }
    Good:
        control_input { name: "start" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } }
    """
    for i, tensor in enumerate(_tensors(model)):
        path = f"{_CONTROLS}[{i}]"
        kinds = {control.kind for control in tensor.control}
        name = f"`{tensor.name}`" if tensor.name else "a control tensor"
        if not tensor.control:
            text = f"{name} has no `control`, so the server never fills it in"
            yield model.found(path, text, "add a `control`, or take it away")
        elif len(kinds) > 1:
            text = f"{name} carries {len(kinds)} controls at once; the model sees one of them"
            yield model.found(path, text, "give each control a tensor of its own")
    for path, control, kind in _controls(model):
        if kind != _CORRID and kind not in _PAIRS:
            text = f"a control of the kind {kind}, which is none: the server never fills it in"
            yield model.found(f"{path}.kind", text, f"valid are {', '.join((*_PAIRS, _CORRID))}")
        for list_name in _LISTS if kind in _PAIRS else ():
            values = getattr(control, list_name)
            if len(values) == 2 and values[0] == values[1]:
                text = f"`{list_name}` has {_shown(values[0])} for false and for true: the model sees no difference"
                yield model.found(f"{path}.{list_name}", text, "give two values, the one for false first")


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"
