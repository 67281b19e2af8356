"""What an ensemble's steps give their models and take from them: names, types, shapes, and answers of any number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from generator.lint.ensemble import Flow, flow_of, is_decoupled, judged, members
from generator.lint.model import Model
from generator.lint.rule import ERROR, WARNING, Finding, rule
from generator.pbtxt.words import guess, listed

if TYPE_CHECKING:
    from collections.abc import Collection

NEEDS = ("ensemble_scheduling",)
_MAPPING = "core ensemble_utils.cc, ValidateTensorMapping (rule 28)"
_SAME = "core ensemble_utils.cc, ValidateTensorConsistency (rule 29)"


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
        names = [tensor.name for tensor in judged(member).input]
        controls = [control.name for control in member.config.sequence_batching.control_input]
        for own in sorted(step.input_map):
            if own not in names:
                left = [name for name in names if name not in step.input_map]
                close = guess(own, left) or (left[0] if len(left) == 1 else "")
                hint = f"did you mean `{close}`?" if close else _has(member, names, "input")
                if own in controls:
                    hint = "leave it out: it is a control of the sequence batcher, which the server sets"
                path = f"ensemble_scheduling.step[{index}].input_map[{own}].key"
                yield model.found(path, f"model `{member.name}` has no input `{own}`", hint)


def _has(member: Model, names: Collection[str], kind: str) -> str:
    return f"`{member.name}` has {listed(names)}" if names else f"`{member.name}` has no {kind} at all"


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
        names = list(dict.fromkeys(tensor.name for tensor in judged(member).output))
        for own in sorted(step.output_map):
            if own not in names:
                left = [name for name in names if name not in step.output_map]
                close = guess(own, left) or (left[0] if len(left) == 1 else "")
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
        tensors = judged(member).input
        # A name that the model does not have stands for the one that it lacks: that is told.
        unknown = sum(own not in {tensor.name for tensor in tensors} for own in step.input_map)
        missing = dict.fromkeys(t.name for t in tensors if t.name and not t.optional and t.name not in step.input_map)
        if unknown and len(missing) <= unknown and not member.is_open:
            continue
        for name in missing:
            hint = f'add `input_map {{ key: "{name}" value: "…" }}`'
            text = f"input `{name}` of model `{member.name}` gets no tensor"
            yield model.found(f"ensemble_scheduling.step[{index}].model_name", text, hint)


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
        names = [tensor.name for tensor in judged(member).output]
        for own in sorted(step.output_map):
            if names.count(own) > 1:
                path = f"ensemble_scheduling.step[{index}].output_map[{own}].key"
                text = f"model `{member.name}` has {names.count(own)} outputs called `{own}`"
                yield model.found(path, text, f"give them names of their own in `{member.name}`")


# Types and shapes ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Use:
    """What one of those who name a tensor says of it. `full` has the batch dimension where there is one."""

    who: str
    data_type: int
    dims: tuple[int, ...]
    full: tuple[int, ...]
    path: str
    is_open: bool


def _uses(model: Model, flow: Flow) -> dict[str, list[_Use]]:
    """Of each tensor, all that is said of it, in the order in which the server compares: the first one counts."""
    found: dict[str, list[_Use]] = {}
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
            ("input_map", step.input_map, config.input), ("output_map", step.output_map, config.output),
        ):  # fmt: skip
            for tensor in tensors:
                name = names.get(tensor.name)
                if name is not None:
                    path = flow.path(index, mapping, tensor.name)
                    found.setdefault(name, []).append(_use(member, config, tensor, tensor.dims, path))
    return found


def _use(owner: Model, config: Any, tensor: Any, dims: Sequence[int], path: str) -> _Use:
    full = (-1, *dims) if config.max_batch_size > 0 else tuple(dims)
    return _Use(owner.name, tensor.data_type, tuple(dims), full, path, owner.is_open)


def _type_name(number: int) -> str:
    from tritonclient.grpc.model_config_pb2 import DataType

    return str(DataType.Name(number)) if number in DataType.values() else f"type {number}"


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
    flow = flow_of(model)
    if flow is None:
        return
    for name, uses in _uses(model, flow).items():
        first = uses[0]
        for use in uses[1:]:
            if use.data_type != first.data_type and first.data_type and use.data_type:
                said = (
                    f"{_type_name(use.data_type)} for `{use.who}` and {_type_name(first.data_type)} for `{first.who}`"
                )
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
    flow = flow_of(model)
    if flow is None:
        return
    for name, uses in _uses(model, flow).items():
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
    flow = flow_of(model)
    if flow is None:
        return
    for name, uses in _uses(model, flow).items():
        first = uses[0]
        rest = [use for use in uses[1:] if _fit(first, use)]
        for index, use in enumerate(rest):
            other = next((o for o in rest[:index] if not _fit(o, use)), None)
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
    for index, step, member in members(model):
        config = judged(member)
        if config.max_batch_size > 0 or member.is_open:
            continue
        for tensor in config.input:
            name = step.input_map.get(tensor.name)
            whole = next((t for t in model.config.input if t.name == name), None)
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
    optional = [tensor.name for tensor in model.config.input if tensor.optional] if model.is_ensemble else []
    if not optional:
        return
    told: set[str] = set()
    for _, step, member in members(model):
        for tensor in judged(member).input:
            name = step.input_map.get(tensor.name)
            if name in optional and not tensor.optional and name not in told:
                told.add(name)
                index = next(i for i, whole in enumerate(model.config.input) if whole.name == name)
                text = f"`{name}` is optional here, and model `{member.name}` needs it"
                yield model.found(
                    f"input[{index}].optional", text, f"make it optional in `{member.name}`, or nowhere"
                )


# Decoupled models ------------------------------------------------------------------------------------------------


@rule("TK791", ERROR, "core ensemble_utils.cc, ValidateEnsembleConfig (rule 30)")
def decoupled_branches(model: Model) -> Iterator[Finding]:
    """A step joins tensors of different decoupled models.

    A decoupled model answers a request any number of times. What it answers cannot be joined with a tensor that came
    another way: from another decoupled model, or from the request itself. That holds of a step's inputs, and of all
    outputs of the ensemble together.

    Bad:
        input_map { key: "x" value: "b" }
        input_map { key: "z" value: "a" }
    Good:
        input_map { key: "x" value: "b" }
        input_map { key: "z" value: "d" }
    """
    flow = flow_of(model)
    if flow is None:
        return
    found = list(members(model))
    if any(member.is_open for _, _, member in found):
        return
    decoupled = {index: member.name for index, _, member in found if is_decoupled(member)}
    if not decoupled:
        return
    label: dict[str, int] = dict.fromkeys(flow.inputs, -1)
    hint = "let both come from outputs of one step, or fuse the models"
    for index in flow.order():
        step = flow.steps[index]
        names = [name for _, name in sorted(step.input_map.items()) if name in label]
        mixed = next((name for name in names if label[name] != label[names[0]]), None)
        if mixed is not None:
            joined = f"{_origin(flow, names[0], label)} with {_origin(flow, mixed, label)}"
            text = f"the step of `{step.model_name}` joins {joined}"
            yield model.found(flow.path(index), text, hint)
            return
        for name in step.output_map.values():
            label.setdefault(name, index if index in decoupled else label[names[0]] if names else -1)
    outputs = [name for name in flow.outputs if name in label]
    mixed = next((name for name in outputs if label[name] != label[outputs[0]]), None)
    if mixed is not None:
        text = f"the outputs join {_origin(flow, outputs[0], label)} with {_origin(flow, mixed, label)}"
        yield model.found(f"output[{flow.outputs.index(mixed)}].name", text, hint)


def _origin(flow: Flow, name: str, label: dict[str, int]) -> str:
    index = label[name]
    return (
        f"`{name}`, which {f'decoupled `{flow.steps[index].model_name}` makes' if index >= 0 else 'is not decoupled'}"
    )
