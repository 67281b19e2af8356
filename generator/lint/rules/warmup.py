"""Warm-up samples: the server makes requests of them and runs each before it calls the model ready."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generator import lfs
from generator.lint.model import Model, tensor_map
from generator.lint.rule import ERROR, NOTE, WARNING, Finding, rule
from generator.lint.rules.files import UNSEEN, resolve
from generator.lint.rules.layout import is_known
from generator.lint.words import element_bytes, enum_name, is_type, item_count, type_name
from generator.pbtxt.words import some

NEEDS = ("model_warmup",)
_SOURCE = "core backend_model_instance.cc, GenerateWarmupData"
_REQUEST = "core infer_request.cc, PrepareForInference"


def samples(model: Model) -> Iterator[tuple[str, Any]]:
    """The samples that the server runs, with their paths: those of batch_size 0 are skipped, all are where every
    instance is passive, and an ensemble has none."""
    if not model.config.model_warmup or model.is_ensemble:
        return
    config = model.completed
    if config.instance_group and all(group.passive for group in config.instance_group):
        return
    for index, sample in enumerate(config.model_warmup):
        if sample.batch_size:
            yield f"model_warmup[{index}]", sample


def inputs(model: Model) -> Iterator[tuple[str, str, Any]]:
    """The inputs of those samples: path, name, what is said of it."""
    for path, sample in samples(model):
        for name in sorted(sample.inputs):
            yield f"{path}.inputs[{name}].value", name, sample.inputs[name]


@rule("TK675", ERROR, _SOURCE)
def open_dims(model: Model) -> Iterator[Finding]:
    """A warm-up input has a dimension of -1.

    The server makes the data itself and has to know how much: it refuses a model with a sample that leaves a
    dimension open, even where the file would tell.

    Bad:
        value { data_type: TYPE_FP32 dims: [ -1 ] zero_data: true }
    Good:
        value { data_type: TYPE_FP32 dims: [ 4 ] zero_data: true }
    """
    for path, _, value in inputs(model):
        at = next((index for index, length in enumerate(value.dims) if length < 0), None)
        if at is not None:
            yield model.found(
                f"{path}.dims[{at}]", f"a sample has no dimension of {value.dims[at]}", "give its length"
            )


@rule("TK676", ERROR, _SOURCE)
def no_data(model: Model) -> Iterator[Finding]:
    """A warm-up input does not say what it is filled with.

    One of `zero_data`, `random_data` and `input_data_file` has to be there; the value of the first two does not
    matter. Strings are never random: the server fills them with empty ones, as `zero_data` does.

    Bad:
        value { data_type: TYPE_FP32 dims: [ 4 ] }
    Good:
        value { data_type: TYPE_FP32 dims: [ 4 ] random_data: true }
    """
    for path, _, value in inputs(model):
        kind = value.WhichOneof("input_data_type")
        if kind is None:
            yield model.found(
                path, "it has no data", "add `zero_data: true`, `random_data: true` or `input_data_file`"
            )
        elif kind == "random_data" and type_name(value) == "STRING":
            yield model.found(
                f"{path}.random_data", "random strings are empty ones, as with zero_data", severity=NOTE
            )


@rule("TK677", ERROR, _REQUEST)
def not_the_models(model: Model) -> Iterator[Finding]:
    """A warm-up sample does not fit the model's inputs.

    A sample is a request: it needs all inputs that are not optional, with their data types and their dims, without
    the batch's dimension. An input that the model does not have is passed on to it all the same, which is meant for
    the controls of a sequence batcher; without a data type, it ends the server.

    Bad:
        value { data_type: TYPE_INT32 dims: [ 4 ] zero_data: true }
    Good:
        value { data_type: TYPE_FP32 dims: [ 4 ] zero_data: true }
    """
    if not model.config.model_warmup:
        return
    config = model.completed
    known = tensor_map(config.input)
    controls = {control.name for control in config.sequence_batching.control_input}
    controls |= {state.input_name for state in config.sequence_batching.state}
    required = [name for name, tensor in known.items() if not tensor.optional]
    needed = sum(not tensor.optional for tensor in config.input)
    for path, sample in samples(model):
        if model.is_open:
            # Its code may add inputs, and fill in what is not written; what is written stays.
            for name in sorted(name for name in sample.inputs if name in known):
                if known[name].data_type and known[name].dims:
                    yield from _differences(model, f"{path}.inputs[{name}].value", known[name], sample.inputs[name])
            continue
        missing = next((name for name in required if name not in sample.inputs), None)
        # The server counts them, and does not ask which.
        too_few = sum(name in known for name in sample.inputs) < needed
        if missing is not None:
            text, severity = f"the sample lacks the input `{missing}`", None if too_few else WARNING
            yield model.found(path, text, "a sample has all inputs that are not optional", severity=severity)
        elif too_few:
            text = f"the model has {needed} inputs, some of one name, and no sample can have as many"
            yield model.found(path, text, "give each input a name of its own")
        for name in sorted(sample.inputs):
            value, at = sample.inputs[name], f"{path}.inputs[{name}].value"
            if name in known:
                yield from _differences(model, at, known[name], value)
            elif not name:
                yield model.found(at, "an input without a name ends the server", "name an input of the model")
            elif name not in controls:
                text = f"the model has no input `{name}`, and gets it all the same"
                yield model.found(at, text, f"it has {some(known)}", severity=WARNING)
            if not is_type(type_name(value)) and (name not in known or value.data_type == known[name].data_type):
                what = f"the data type {type_name(value)}, which is none" if value.data_type else "no `data_type`"
                text = f"the sample has {what}: it is refused, or ends the server"
                yield model.found(f"{at}.data_type", text, "give it one")


def _differences(model: Model, path: str, tensor: Any, value: Any) -> Iterator[Finding]:
    if value.data_type != tensor.data_type:
        text = f"the sample has {enum_name(value, 'data_type')}, the model's input {enum_name(tensor, 'data_type')}"
        yield model.found(f"{path}.data_type", text, "write the input's")
    dims, wanted = list(value.dims), list(tensor.dims)
    if tensor.is_shape_tensor or any(length < 0 for length in dims):
        return
    if len(dims) != len(wanted) or any(w not in (-1, d) for d, w in zip(dims, wanted, strict=True)):
        hint = f"dims: [ {', '.join(map(str, wanted))} ]"
        if model.completed.max_batch_size > 0 and len(dims) == len(wanted) + 1:
            hint += ", without the batch's dimension"
        yield model.found(f"{path}.dims", f"the sample has dims {dims}, the model's input {wanted}", hint)


@rule("TK678", ERROR, _SOURCE, local=True)
def data_file(model: Model) -> Iterator[Finding]:
    """The file of a warm-up input is not there or of the wrong size.

    The path counts from the directory `warmup` of the model. The file holds one sample, whatever `batch_size` is: the
    product of the dims times the size of an element. What is beyond that is left out. Strings are stored one after
    another, each behind its length in four bytes, the least significant one first, and there are as many as the dims
    say.

    Bad:
        value { data_type: TYPE_FP32 dims: [ 4 ] input_data_file: "short" }
    Good:
        value { data_type: TYPE_FP32 dims: [ 4 ] input_data_file: "x" }
    """
    if not is_known(model, "model_warmup", "instance_group", "ensemble_scheduling", "platform", "input"):
        return
    known: dict[str, Any] | None = None
    for path, name, value in inputs(model):
        if value.WhichOneof("input_data_type") != "input_data_file":
            continue
        field, file = f"{path}.input_data_file", value.input_data_file
        found = resolve(model, f"warmup/{file}")
        if found is UNSEEN:
            continue
        if found is None:
            yield model.found(
                field, f"there is no `warmup/{file}` in the model's directory", "put the sample's data there"
            )
            continue
        folder, base = found
        if not folder.has_file(base):
            text = f"`warmup/{file}` is a directory, and a server that reads it as a file ends"
            yield model.found(field, text, "name the file")
        elif all(length >= 0 for length in value.dims):
            known = tensor_map(model.completed.input) if known is None else known
            yield from _size(model, field, value, found, is_input=name in known)


def _size(model: Model, path: str, value: Any, found: tuple[Any, str], *, is_input: bool) -> Iterator[Finding]:
    folder, base = found
    elements, dtype = item_count(value.dims) if value.dims else 0, type_name(value)
    needed = elements * element_bytes(dtype)
    try:
        if lfs.is_pointer(folder.read(base, lfs.HEAD_BYTES)):
            too_short = dtype == "STRING" or folder.size_bytes(base) < needed
            yield model.found(path, f"`{base}` {lfs.WHAT}", lfs.MEND, severity=None if too_short else WARNING)
            return
        if dtype == "STRING":
            strings = _strings(folder.read(base))
            if strings < 0 or (is_input and strings != elements):
                there = "no whole string" if strings < 0 else f"{strings} string" + "s" * (strings != 1)
                text = f"it has {there}, and the dims say {elements}"
                yield model.found(path, text, "each behind its length in 4 bytes")
            return
        size = folder.size_bytes(base)
    except OSError as error:
        text = f"it cannot be read here: {error.strerror}"
        yield model.found(path, text, "let the server's user read it", severity=WARNING)
        return
    if size < needed:
        text = f"it has {size} bytes, and one sample needs {needed}"
        yield model.found(path, text, "the product of the dims, times the size of an element")
    elif size > needed:
        text = f"it has {size} bytes, of which the server takes {needed}"
        yield model.found(path, text, "a sample is one request of a batch, without its dimension", severity=WARNING)


def _strings(data: bytes) -> int:
    """How many strings the bytes hold; -1 where they are cut off."""
    at, count = 0, 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        if at + 4 > len(data) or end > len(data):
            return -1
        at, count = end, count + 1
    return count


@rule("TK679", ERROR, "core backend_model_instance.cc, GenerateWarmupData, and backend_common")
def sample_size(model: Model) -> Iterator[Finding]:
    """A warm-up sample's batch_size is not one that the model takes.

    The server runs as many requests as `batch_size` says in one batch. More than max_batch_size fails, or ends the
    server; a model without batches takes 1. With 0, or without `batch_size`, the sample is skipped, and nothing is
    warmed up.

    Bad:
        model_warmup [ { name: "zeros" batch_size: 9
    Good:
        model_warmup [ { name: "zeros" batch_size: 4
    """
    if not model.config.model_warmup or model.is_ensemble:
        return
    for index, sample in enumerate(model.completed.model_warmup):
        if not sample.batch_size:
            text = "a sample without batch_size, or of batch_size 0, is skipped"
            yield model.found(f"model_warmup[{index}]", text, "batch_size: 1", severity=WARNING)
    largest = max(model.completed.max_batch_size, 1)
    for path, sample in samples(model):
        if sample.batch_size > largest and not model.is_open:
            text = f"a batch of {sample.batch_size} is beyond max_batch_size, {model.completed.max_batch_size}"
            yield model.found(f"{path}.batch_size", text, f"at most {largest}")
