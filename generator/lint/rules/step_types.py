"""What an ensemble and the models of its steps say of a tensor: its type, its shape, and whether it must be there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from generator.lint.ensemble import flow_of, inputs_of, judged, members, outputs_of
from generator.lint.model import Model, kept, tensor_map
from generator.lint.rule import ERROR, WARNING, Finding, rule
from generator.lint.words import type_name

NEEDS = ("ensemble_scheduling",)
_SAME = "core ensemble_utils.cc, ValidateTensorConsistency"


@dataclass(frozen=True)
class _Use:
    """What one of those who name a tensor says of it. `full` has the batch dimension where there is one."""

    who: str
    data_type: str
    dims: tuple[int, ...]
    full: tuple[int, ...]
    path: str
    is_open: bool


@kept
def _uses(model: Model) -> dict[str, list[_Use]]:
    """Of each tensor of an ensemble, all that is said of it, in the order in which the server compares: the first one
    counts."""
    found: dict[str, list[_Use]] = {}
    flow = flow_of(model)
    if flow is None:
        return found
    config = model.config
    for where, tensors in (("input", config.input), ("output", config.output)):
        for index, tensor in enumerate(tensors):
            dims = tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims
            use = _use(model, config, tensor, dims, f"{where}[{index}]")
            if tensor.name not in found:
                found[tensor.name] = [use]
    for index, step, member in members(model):
        config = judged(member)
        for mapping, names, tensors in (
            ("input_map", step.input_map, inputs_of(member)),
            ("output_map", step.output_map, outputs_of(member)),
        ):
            for tensor in tensors.mapped(names):
                path = flow.path(index, mapping, tensor.name)
                use = _use(member, config, tensor, tensor.dims, path)
                found.setdefault(names[tensor.name], []).append(use)
    return found


def _use(owner: Model, config: Any, tensor: Any, dims: Sequence[int], path: str) -> _Use:
    full = (-1, *dims) if config.max_batch_size > 0 else tuple(dims)
    return _Use(owner.name, type_name(tensor), tuple(dims), full, path, owner.is_open)


def _alike(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return one == other or (
        len(one) == len(other) and all(a in (b, -1) or b == -1 for a, b in zip(one, other, strict=True))
    )


def _fit(one: _Use, other: _Use) -> bool:
    """Whether the server takes two shapes for alike: with the batch dimension, or without it on both sides."""
    return _alike(one.dims, other.dims) or _alike(one.full, other.full) or one.is_open or other.is_open


@rule("TK698", ERROR, _SAME)
def another_type(model: Model) -> Iterator[Finding]:
    """A tensor has another data type in a step's model.

    All who name a tensor have to say the same data type: the ensemble's own input or output, the model that writes
    it, and those that read it. The server converts nothing.

    Bad:
        input [ { name: "a" data_type: TYPE_FP16 dims: [ 4 ] } ]
    Good:
        input [ { name: "a" data_type: TYPE_FP32 dims: [ 4 ] } ]
    """
    for name, uses in _uses(model).items():
        first = uses[0]
        for use in uses[1:]:
            if use.data_type != first.data_type and "INVALID" not in (first.data_type, use.data_type):
                said = " and ".join(f"TYPE_{each.data_type} for `{each.who}`" for each in (use, first))
                yield model.found(use.path, f"tensor `{name}` is {said}", "give it one data type")


@rule("TK699", ERROR, _SAME)
def another_shape(model: Model) -> Iterator[Finding]:
    """A tensor has another shape in a step's model.

    All who name a tensor have to agree with the first who does, in rank and in each dimension; `-1` agrees with any.
    A model that batches may be compared with its batch dimension: `[ -1, 4 ]` of a model without batches goes with
    `[ 4 ]` of one with them. Of the ensemble's tensors the `reshape` counts, of a model's the `dims`.

    Bad:
        input [ { name: "a" data_type: TYPE_FP32 dims: [ 5 ] } ]
    Good:
        input [ { name: "a" data_type: TYPE_FP32 dims: [ 4 ] } ]
    """
    for name, uses in _uses(model).items():
        first = uses[0]
        for use in uses[1:]:
            if not _fit(first, use):
                said = f"{list(use.full)} for `{use.who}` and {list(first.full)} for `{first.who}`"
                batch = " (with the batch dimension)" if use.full != use.dims or first.full != first.dims else ""
                yield model.found(use.path, f"tensor `{name}` is {said}{batch}", "make the shapes agree")


@rule("TK793", WARNING, "core ensemble_utils.cc, ValidateTensorConsistency; seen: loaded, and requests fail")
def shape_behind_a_wildcard(model: Model) -> Iterator[Finding]:
    """Two steps disagree about a tensor's shape, and the ensemble's -1 hides it.

    The server compares every model with the first who names the tensor. Where that one says `-1`, two models that can
    never agree pass, and every request fails in the second.

    Bad:
        output [ { name: "b" data_type: TYPE_FP32 dims: [ -1 ] }, { name: "c" data_type: TYPE_FP32 dims: [ 8 ] } ]
    Good:
        output [ { name: "b" data_type: TYPE_FP32 dims: [ 4 ] }, { name: "c" data_type: TYPE_FP32 dims: [ 4 ] } ]
    """
    for name, uses in _uses(model).items():
        first = uses[0]
        before: dict[tuple[object, ...], _Use] = {}  # one of each shape
        for use in uses[1:]:
            if not _fit(first, use):
                continue
            shape = (use.dims, use.full, use.is_open)
            other = None if shape in before else next((o for o in before.values() if not _fit(o, use)), None)
            before.setdefault(shape, use)
            if other is not None and use.data_type == other.data_type:
                said = f"{list(use.dims)} for `{use.who}` and {list(other.dims)} for `{other.who}`"
                text = f"tensor `{name}` is {said}, which `{first.who}` hides by {list(first.dims)}"
                yield model.found(use.path, text, "make the shapes agree")
                break


@rule("TK794", WARNING, "core ensemble_scheduler.cc and infer_request.cc; seen: batches above 1 are refused")
def batches_of_one_alone(model: Model) -> Iterator[Finding]:
    """A batching ensemble gives its batches to a model without batches.

    The server takes equal `dims` for alike, even where one of the two has a batch dimension before them and the other
    has not. A request of one item passes, every larger one fails in the step. A model without batches that takes them
    as they are says a first dimension of -1.

    Bad:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
    Good:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ -1, 4 ] } ]
    """
    largest = model.config.max_batch_size
    if largest < 2:
        return
    inputs = tensor_map(model.config.input)
    for index, step, member in members(model):
        config = judged(member)
        if config.max_batch_size > 0 or member.is_open:
            continue
        for tensor in inputs_of(member).mapped(step.input_map):
            whole = inputs.get(step.input_map[tensor.name])
            if whole is not None and not whole.HasField("reshape") and _has_no_batch(tensor.dims, whole.dims):
                said = f"`{tensor.name}` as {list(tensor.dims)}, without a batch"
                text = f"model `{member.name}` takes {said}: only one item passes"
                path = f"ensemble_scheduling.step[{index}].input_map[{tensor.name}].value"
                yield model.found(path, text, f"give `{member.name}` a max_batch_size, or a first dimension of -1")


def _has_no_batch(dims: Sequence[int], of_item: Sequence[int]) -> bool:
    return _alike(tuple(dims), tuple(of_item)) and not _alike(tuple(dims), (-1, *of_item))


@rule("TK795", WARNING, "core ensemble_scheduler.cc; seen: requests without the tensor fail")
def optional_and_needed(model: Model) -> Iterator[Finding]:
    """An optional input of an ensemble goes to a model that needs it.

    A request may leave the input out, and then fails in the step, whose model does not have it as `optional`.

    Bad:
        input [ { name: "a" data_type: TYPE_FP32 dims: [ 4 ] optional: true } ]
    Good:
        input [ { name: "a" data_type: TYPE_FP32 dims: [ 4 ] } ]
    """
    if not model.is_ensemble:
        return
    optional: dict[str, int] = {}
    for index, tensor in enumerate(model.config.input):
        if tensor.optional:
            optional.setdefault(tensor.name, index)
    for _, step, member in members(model) if optional else ():
        for tensor in inputs_of(member).mapped(step.input_map):
            name = step.input_map[tensor.name]
            if name in optional and not tensor.optional:
                path = f"input[{optional.pop(name)}].optional"
                text = f"`{name}` is optional here, and model `{member.name}` needs it"
                yield model.found(path, text, f"make it optional in `{member.name}`, or nowhere")
