"""ONNX Runtime's backend: the file against the configuration. Read from its source, the embedded server has none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from generator import lfs
from generator.lint.model import Model
from generator.lint.onnx_signature import OnnxFile, Signature, onnx_files
from generator.lint.rule import ERROR, WARNING, Finding, rule
from generator.lint.rules.layout import FILE_FIELDS, is_known
from generator.lint.words import is_type, type_name
from generator.pbtxt.words import some
from generator.problems import Place

if TYPE_CHECKING:
    from generator.resolve.onnx_graph import OnnxTensor

BACKEND = "onnxruntime"
_SOURCE = "onnxruntime_backend onnxruntime.cc"
# What ONNX Runtime 1.20.1 reads, which is the newest of the releases up to 25.02.
_OLD_RELEASES, _OLD_IR_VERSION, _OLD_OPSET = "25.02", 10, 21


def _files(model: Model) -> Sequence[OnnxFile]:
    if model.backend != "onnxruntime" and model.completed.backend != "onnxruntime":
        return ()
    if not is_known(model, *FILE_FIELDS):
        return ()
    return onnx_files(model, model.completed)


def _signatures(model: Model) -> Iterator[Signature]:
    return (file.signature for file in _files(model) if file.signature is not None)


@rule("TK720", ERROR, f"{_SOURCE}, LoadModel", live=False, local=True)
def no_onnx_model(model: Model) -> Iterator[Finding]:
    """A file that should be an ONNX model is none.

    ONNX Runtime reads the file when the model is loaded and refuses what is damaged, cut off, or something else, a
    pointer of Git LFS for example. The server then has no such model.

    Bad:
        backend: "onnxruntime"
        default_model_filename: "weights.bin"
    Good:
        backend: "onnxruntime"
        default_model_filename: "classifier.onnx"
    """
    for file in _files(model):
        if file.mistake:
            hint = lfs.MEND if file.mistake == lfs.WHAT else "copy it again, or export it again"
            yield Finding("", f"`{file.file}` {file.mistake}", hint, Place(file.file))


@rule("TK721", ERROR, f"{_SOURCE}, ValidateInputs", live=False)
def unknown_input(model: Model) -> Iterator[Finding]:
    """An input is not one of the ONNX file's.

    The backend looks each input of the configuration, and each sequence control, up by its name in the file, where
    it must stand letter for letter; the model is refused otherwise.

    Bad:
        input [ { name: "image" data_type: TYPE_FP32 dims: [ 4 ] } ]
    Good:
        input [ { name: "pixels" data_type: TYPE_FP32 dims: [ 4 ] } ]
    """
    for found in _signatures(model):
        known = {tensor.name: None for tensor in found.inputs}
        for i, tensor in enumerate(model.config.input):
            if tensor.name and tensor.name not in known and tensor.name not in found.optional:
                text = f"the ONNX file has no input `{tensor.name}`; it has {some(known)}"
                yield model.found(f"input[{i}].name", text, "write the name that the file has")
        for i, control in enumerate(model.config.sequence_batching.control_input):
            if control.name and control.control and control.name not in known:
                text = f"the ONNX file has no input `{control.name}` for the sequence control; it has {some(known)}"
                path = f"sequence_batching.control_input[{i}].name"
                yield model.found(path, text, "write the name that the file has")


@rule("TK722", ERROR, f"{_SOURCE}, ValidateInputs", live=False)
def missing_input(model: Model) -> Iterator[Finding]:
    """The ONNX file has another number of inputs than the configuration.

    The backend counts: inputs that are not optional, batch inputs, sequence controls and states together must be as
    many as the file has inputs without a value of their own. A model that differs is refused.

    Bad:
        input { name: "tokens" data_type: TYPE_INT64 dims: [ 8 ] }
        output { name: "y" data_type: TYPE_INT64 dims: [ 8 ] }
    Good:
        input { name: "tokens" data_type: TYPE_INT64 dims: [ 8 ] }
        input { name: "mask" data_type: TYPE_INT64 dims: [ 8 ] }
    """
    config = model.completed
    if not config.input and model.is_open:
        return
    batcher = config.sequence_batching
    kinds = {control.kind for tensor in batcher.control_input for control in tensor.control}
    required = sum(not tensor.optional for tensor in config.input)
    count = required + len(config.batch_input) + len(kinds) + len(batcher.state)
    given = {tensor.name for tensor in (*config.input, *batcher.control_input)}
    given |= {state.input_name for state in batcher.state} | {
        n for each in config.batch_input for n in each.target_name
    }
    for found in _signatures(model):
        left = [tensor.name for tensor in found.inputs if tensor.name not in given]
        if count != len(found.inputs):
            text = f"the configuration has {count} inputs, the ONNX file {len(found.inputs)}"
            text += f": {some(left)} missing" if left else ""
            yield model.found("input", text, "declare each input of the file once")


@rule("TK723", ERROR, f"{_SOURCE}, ValidateOutputs", live=False)
def unknown_output(model: Model) -> Iterator[Finding]:
    """An output is not one of the ONNX file's.

    The backend looks each output of the configuration up by its name in the file; the model is refused if it is not
    there. Outputs of the file may be left out.

    Bad:
        output [ { name: "label" data_type: TYPE_FP32 dims: [ 2 ] } ]
    Good:
        output [ { name: "logits" data_type: TYPE_FP32 dims: [ 2 ] } ]
    """
    for found in _signatures(model):
        known = {tensor.name: None for tensor in found.outputs}
        for i, tensor in enumerate(model.config.output):
            if tensor.name and tensor.name not in known:
                text = f"the ONNX file has no output `{tensor.name}`; it has {some(known)}"
                yield model.found(f"output[{i}].name", text, "write the name that the file has")


@rule("TK724", ERROR, f"{_SOURCE}, ValidateInputs and ValidateOutputs", live=False)
def another_type(model: Model) -> Iterator[Finding]:
    """A tensor has another type than in the ONNX file.

    Nothing is converted on the way: the backend compares the types of the configuration and of the file, and
    refuses a model where they differ.

    Bad:
        input [ { name: "x" data_type: TYPE_FP16 dims: [ 4 ] } ]
    Good:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
    """
    for path, tensor, theirs, _ in _pairs(model):
        ours = type_name(tensor)
        if is_type(ours) and ours not in ("BF16", theirs.dtype):
            has = "a type that Triton does not carry" if theirs.dtype == "?" else f"TYPE_{theirs.dtype}"
            text = f"`{tensor.name}` is TYPE_{ours}, in the ONNX file it is {has}"
            hint = "cast it in the graph" if theirs.dtype == "?" else f"write `data_type: TYPE_{theirs.dtype}`"
            yield model.found(f"{path}.data_type", text, hint)


@rule("TK725", ERROR, f"{_SOURCE}, CompareDimsSupported", live=False)
def another_shape(model: Model) -> Iterator[Finding]:
    """A tensor has another shape than in the ONNX file.

    With a max_batch_size, `dims` are the file's without the first axis; `reshape`, where it is given, is what is
    compared. An input may be narrower than the file allows, an output must be the same: `-1` only where the file
    leaves an axis open.

    Bad:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 3, 224 ] } ]
    Good:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
    """
    batched = model.completed.max_batch_size > 0
    scattered = {name for output in model.config.batch_output for name in output.target_name}
    for path, tensor, theirs, found in _pairs(model):
        ours = list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
        is_output = path.startswith("output")
        if not theirs.dims:
            if not (is_output and theirs.name in found.shapeless) and any(dim != 1 for dim in ours):
                text = f"`{tensor.name}` has {_dims(ours)}, in the ONNX file it has no axes"
                yield model.found(f"{path}.dims", text, "write `dims: [ 1 ]`")
            continue
        if not is_output and tensor.allow_ragged_batch:
            continue  # TK728
        wanted = list(theirs.dims[1:] if batched else theirs.dims)
        if is_output and tensor.name in scattered:
            continue
        fixed = [dim for dim, here in zip(wanted, ours, strict=False) if dim not in (None, here)]
        opened = [here for dim, here in zip(wanted, ours, strict=False) if dim is None and here != -1 and is_output]
        theirs_text = _dims([-1 if dim is None else dim for dim in wanted])
        text = f"`{tensor.name}` has {_dims(ours)}, in the ONNX file it has {theirs_text}"
        text += " behind the batch axis" if batched else ""
        if len(wanted) != len(ours) or fixed:
            yield model.found(f"{path}.dims", text, f"write `dims: {theirs_text}`")
        elif opened:
            text += f": it is accepted only if ONNX Runtime works out by itself that the axis is {opened[0]} long"
            yield model.found(f"{path}.dims", text, "export the file with the fixed length", severity=WARNING)


@rule("TK726", ERROR, f"{_SOURCE}, CompareDimsSupported and AutoCompleteMaxBatch", live=False)
def fixed_batch(model: Model) -> Iterator[Finding]:
    """A max_batch_size is set, and the ONNX file's first axis has a fixed length.

    A batch of any size needs a first axis of any length, in every tensor. The backend refuses a max_batch_size above
    0 for a file that was exported for one size.

    Bad:
        name: "fixed"
        backend: "onnxruntime"
        max_batch_size: 8
    Good:
        name: "open"
        backend: "onnxruntime"
        max_batch_size: 8
    """
    if model.config.max_batch_size <= 0:
        return
    for found in _signatures(model):
        named = {tensor.name for tensor in (*model.config.input, *model.config.output)}
        for tensor in (*found.inputs, *found.outputs):
            if tensor.dims and tensor.dims[0] is not None and (tensor.name in named or not named):
                text = f"max_batch_size is {model.config.max_batch_size}, and `{tensor.name}` is {tensor.describe()}"
                hint = "export it with a dynamic first axis, or write `max_batch_size: 0` and all axes in `dims`"
                yield model.found("max_batch_size", f"{text} in the ONNX file: its first axis is fixed", hint)
                break


@rule("TK727", ERROR, f"{_SOURCE}, ValidateInputs", live=False)
def optional_in_a_batch(model: Model) -> Iterator[Finding]:
    """An optional input in an ONNX model that batches.

    Requests with and without the input could not stand in one batch, so ONNX Runtime's backend takes optional inputs
    only where max_batch_size is 0.

    Bad:
        max_batch_size: 8
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] optional: true } ]
    Good:
        max_batch_size: 8
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
    """
    config = model.completed
    if model.backend != "onnxruntime" or config.max_batch_size == 0:
        return
    for i, tensor in enumerate(model.config.input):
        if tensor.optional:
            text = f"`{tensor.name}` is optional, and the model batches (max_batch_size {config.max_batch_size})"
            yield model.found(f"input[{i}].optional", text, "remove `optional`, or write `max_batch_size: 0`")


@rule("TK728", ERROR, f"{_SOURCE}, ValidateInputs", live=False)
def ragged_shape(model: Model) -> Iterator[Finding]:
    """A ragged input is not of shape [-1] in the ONNX file.

    With `allow_ragged_batch` the requests of a batch are laid one behind the other without a batch axis: the file has
    to take one axis of any length.

    Bad:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] allow_ragged_batch: true } ]
    Good:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ -1 ] allow_ragged_batch: true } ]
    """
    for path, tensor, theirs, _ in _pairs(model):
        if path.startswith("input") and tensor.allow_ragged_batch and theirs.dims != (None,):
            text = f"`{tensor.name}` allows ragged batches, and is {theirs.describe()} in the ONNX file"
            yield model.found(f"{path}.allow_ragged_batch", text, "it has to be [any] there, or remove the line")


@rule("TK729", ERROR, "server build.py (ONNX Runtime 1.20.1 in 25.02); onnxruntime model.cc", live=False)
def too_new(model: Model) -> Iterator[Finding]:
    """An ONNX file is newer than the release's ONNX Runtime.

    ONNX Runtime refuses a file whose format (IR version) or set of operators (opset) is newer than itself. Up to
    release 25.02 it is 1.20.1 at most, which reads IR version 10 and opset 21. Of later releases nothing is said
    here.

    Bad:
        name: "late"
        backend: "onnxruntime"
    Good:
        name: "early"
        backend: "onnxruntime"
    """
    if model.release > _OLD_RELEASES:
        return
    for file in _files(model):
        found = file.signature
        if found is None:
            continue
        for what, has, most in (
            ("IR version", found.ir_version, _OLD_IR_VERSION),
            ("opset", found.opset, _OLD_OPSET),
        ):
            if has > most:
                text = f"`{file.file}` has {what} {has}; release {model.release} reads up to {most}"
                hint = f"export it with {what} {most} or older"
                yield model.judged(Finding("", text, hint, Place(file.file)))
                break


def _pairs(model: Model) -> Iterator[tuple[str, Any, OnnxTensor, Signature]]:
    """Each tensor of the configuration with the file's of that name, and its path."""
    for found in _signatures(model):
        for where, ours, theirs in (
            ("input", model.config.input, found.inputs),
            ("output", model.config.output, found.outputs),
        ):
            by_name = {tensor.name: tensor for tensor in theirs}
            for i, tensor in enumerate(ours):
                if tensor.name in by_name:
                    yield f"{where}[{i}]", tensor, by_name[tensor.name], found


def _dims(dims: Sequence[int]) -> str:
    return f"[ {', '.join(map(str, dims))} ]" if dims else "[ ]"
