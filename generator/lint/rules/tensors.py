"""Inputs and outputs: name, data type, dims, reshape and what only some backends take."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from generator.lint.model import Model
from generator.lint.rule import ERROR, WARNING, Finding, rule

if TYPE_CHECKING:
    from generator.config.messages import ModelConfig

_SHAPES = "core model_config_utils.cc, ValidateIOShape"
_INPUTS = "core model_config_utils.cc, ValidateModelInput and ValidateModelOutput"
VALID_LENGTH = "valid: 1 or more, or -1 for any length"


class Tensor(NamedTuple):
    """An input or output, and its number among them."""

    kind: str
    number: int
    value: Any

    @property
    def path(self) -> str:
        """Where it stands."""
        return f"{self.kind}[{self.number}]"

    @property
    def word(self) -> str:
        """What messages call it."""
        return f"{self.kind} `{self.value.name}`" if self.value.name else f"{self.kind} {self.number + 1}"


def tensors_of(config: ModelConfig) -> Iterator[Tensor]:
    """The inputs, then the outputs."""
    for i, tensor in enumerate(config.input):
        yield Tensor("input", i, tensor)
    for i, tensor in enumerate(config.output):
        yield Tensor("output", i, tensor)


@rule("TK620", ERROR, _SHAPES)
def no_name(model: Model) -> Iterator[Finding]:
    """An input or output without a name.

    Requests and the model's code know tensors by their names. The server refuses one that has none, even if the model
    completes its configuration itself.

    Bad:
        input [ { data_type: TYPE_FP32 dims: [ 4 ] } ]
    Good:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
    """
    for tensor in tensors_of(model.completed):
        if not tensor.value.name:
            yield model.found(tensor.path, f"{tensor.word} has no `name`", "name it as the model knows it")


@rule("TK621", ERROR, _SHAPES)
def no_data_type(model: Model) -> Iterator[Finding]:
    """An input or output without a data type.

    The server checks every request against the data type, so each tensor needs one. `TYPE_INVALID` is the same as
    none. Only a model that completes its own configuration may leave it out, on a server that lets it.

    Bad:
        input [ { name: "x" dims: [ 4 ] } ]
    Good:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
    """
    if model.is_open:
        return
    for tensor in tensors_of(model.completed):
        if tensor.value.data_type == 0:
            yield model.found(tensor.path, f"{tensor.word} has no `data_type`", "write one, such as TYPE_FP32")


@rule("TK622", ERROR, _SHAPES)
def no_dims(model: Model) -> Iterator[Finding]:
    """An input or output without dims.

    `dims` is the shape of a tensor without the batch axis. It has at least one axis: a model that takes one number
    for each item of a batch has `dims: [ 1 ]`, with an empty `reshape` if the model itself wants no axis.

    Bad:
        input [ { name: "x" data_type: TYPE_FP32 } ]
    Good:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] reshape: { shape: [ ] } } ]
    """
    if model.is_open:
        return
    for tensor in tensors_of(model.completed):
        if not tensor.value.dims:
            yield model.found(tensor.path, f"{tensor.word} has no `dims`", "write its shape without the batch axis")


@rule("TK623", ERROR, _SHAPES, local=True)
def bad_dim(model: Model) -> Iterator[Finding]:
    """An axis in dims that is neither 1 or more nor -1.

    -1 stands for an axis of any length. No axis can have the length 0, and no other negative number means anything.

    Bad:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 0, 4 ] } ]
    Good:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ -1, 4 ] } ]
    """
    for tensor in tensors_of(model.config):
        for i, dim in enumerate(tensor.value.dims):
            if is_no_length(dim):
                text = f"{tensor.word} has an axis of length {dim}; {VALID_LENGTH}"
                yield model.found(f"{tensor.path}.dims[{i}]", text, "write the length, or -1")


def is_no_length(dim: int) -> bool:
    """Whether an axis cannot have this length: neither 1 or more nor -1, any."""
    return dim < 1 and dim != -1


@rule("TK627", ERROR, _INPUTS)
def format_needs_three_dims(model: Model) -> Iterator[Finding]:
    """An image format for an input that has not three dims.

    `FORMAT_NHWC` and `FORMAT_NCHW` speak of height, width and channels. N is the batch axis, which does not stand in
    `dims`, so three axes are left.

    Bad:
        input [ { name: "x" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 1, 3, 8, 8 ] } ]
    Good:
        input [ { name: "x" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, 8, 8 ] } ]
    """
    for i, tensor in enumerate(model.completed.input):
        if tensor.format in (1, 2) and tensor.dims and len(tensor.dims) != 3:
            name = tensor.Format.Name(tensor.format)
            text = f"input `{tensor.name}` is {name} and has {len(tensor.dims)} dims; valid: 3"
            yield model.found(f"input[{i}].format", text, "give height, width and channels, or drop the format")


@rule("TK628", ERROR, _INPUTS)
def shape_tensor_without_tensorrt(model: Model) -> Iterator[Finding]:
    """A shape tensor in a model that is not TensorRT's.

    A shape tensor holds a shape, not data; only TensorRT engines have such inputs and outputs. The server refuses the
    flag with every other platform.

    Bad:
        input [ { name: "x" data_type: TYPE_INT32 dims: [ 4 ] is_shape_tensor: true } ]
    Good:
        input [ { name: "x" data_type: TYPE_INT32 dims: [ 4 ] } ]
    """
    if model.completed.platform == "tensorrt_plan":
        return
    for tensor in tensors_of(model.completed):
        if tensor.value.is_shape_tensor:
            field = f"{tensor.path}.is_shape_tensor"
            text = f"{tensor.word} is a shape tensor, which only platform `tensorrt_plan` has"
            yield model.found(field, text, "remove `is_shape_tensor`", edits=model.removed(field))


@rule("TK629", ERROR, "core model_config_utils.cc, ValidateNonLinearFormatIO")
def non_linear_format(model: Model) -> Iterator[Finding]:
    """A non-linear format where it cannot be.

    `is_non_linear_format_io` says that a TensorRT engine packs the channels of a tensor. It goes with platform
    `tensorrt_plan` and three dims only.

    Bad:
        input [ { name: "x" data_type: TYPE_FP16 dims: [ 8, 8, 8 ] is_non_linear_format_io: true } ]
    Good:
        input [ { name: "x" data_type: TYPE_FP16 dims: [ 8, 8, 8 ] } ]
    """
    for tensor in tensors_of(model.completed):
        if not tensor.value.is_non_linear_format_io:
            continue
        field = f"{tensor.path}.is_non_linear_format_io"
        if model.completed.platform != "tensorrt_plan":
            text = f"{tensor.word} is of a non-linear format, which only platform `tensorrt_plan` has"
            yield model.found(field, text, f"remove `{field.rpartition('.')[2]}`", edits=model.removed(field))
        elif tensor.value.dims and len(tensor.value.dims) != 3:
            text = f"{tensor.word} is of a non-linear format and has {len(tensor.value.dims)} dims; valid: 3"
            yield model.found(field, text, "give channels, height and width")


@rule("TK770", WARNING, "seen: the server counts both, and a request can only give one (accepted, and broken)")
def name_given_twice(model: Model) -> Iterator[Finding]:
    """Two inputs or two outputs of one name.

    The server loads such a model. With two inputs of one name it then refuses every request, because it wants as many
    inputs as are written; of two outputs of one name clients see but one. An input and an output may share a name.

    Bad:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }, { name: "x" data_type: TYPE_FP32 dims: [ 2 ] } ]
    Good:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }, { name: "z" data_type: TYPE_FP32 dims: [ 2 ] } ]
    """
    for kind, tensors in (("input", model.config.input), ("output", model.config.output)):
        seen = set()
        for i, tensor in enumerate(tensors):
            if tensor.name and tensor.name in seen:
                effect = "no request can give both" if kind == "input" else "clients see but one of them"
                text = f"{kind} `{tensor.name}` is given twice; {effect}"
                yield model.found(f"{kind}[{i}].name", text, "rename or remove one")
            seen.add(tensor.name)


@rule("TK771", ERROR, "backend backend_model.cc, BackendModel; tensorrt_backend tensorrt_model.cc", live=False)
def optional_input(model: Model) -> Iterator[Finding]:
    """An optional input of a TensorRT model.

    An engine needs all of its inputs, so the TensorRT backend refuses `optional`. Python models and ONNX Runtime take
    it.

    Bad:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] optional: true } ]
    Good:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
    """
    if model.completed.backend != "tensorrt":
        return
    for i, tensor in enumerate(model.completed.input):
        if tensor.optional:
            field = f"input[{i}].optional"
            text = f"input `{tensor.name}` is optional, which TensorRT does not take"
            yield model.found(field, text, "remove `optional`")


@rule("TK772", WARNING, "core backend_model.cc, TritonModel::SetConfiguredScheduler")
def ragged_without_batches(model: Model) -> Iterator[Finding]:
    """A ragged input in a model that does not batch.

    `allow_ragged_batch` lets the batcher put requests of different shapes into one batch. With `max_batch_size: 0`
    every request is run by itself, and the flag does nothing.

    Bad:
        max_batch_size: 0
        input [ { name: "x" data_type: TYPE_FP32 dims: [ -1 ] allow_ragged_batch: true } ]
    Good:
        max_batch_size: 4
        input [ { name: "x" data_type: TYPE_FP32 dims: [ -1 ] allow_ragged_batch: true } ]
    """
    if model.completed.max_batch_size != 0 or model.is_open or model.is_ensemble:
        return
    for i, tensor in enumerate(model.completed.input):
        if tensor.allow_ragged_batch:
            text = f"input `{tensor.name}` may be ragged, and max_batch_size is 0: nothing is batched"
            yield model.found(f"input[{i}].allow_ragged_batch", text, "set max_batch_size, or remove the flag")


@rule("TK773", WARNING, "seen: loaded, and every request that gives an input is refused (accepted, and broken)")
def no_tensors(model: Model) -> Iterator[Finding]:
    """A Python model without inputs and outputs.

    The server loads it, and refuses every request that gives a tensor. A model's `auto_complete_config` can add them,
    but it is not called under `--disable-auto-complete-config`.

    Bad:
        backend: "python"
        max_batch_size: 4
    Good:
        backend: "python"
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
    """
    config = model.completed
    if config.backend != "python" or config.input or config.output or model.is_open or config.platform == "ensemble":
        return
    hint = "write `input` and `output`"
    if not model.server.auto_complete:
        hint += ": with --disable-auto-complete-config no code can add them"
    yield model.found("", "there are no inputs and no outputs", hint)


@rule("TK774", WARNING, "seen: loaded, and every request that gives the tensor is refused (accepted, and broken)")
def unknown_data_type(model: Model) -> Iterator[Finding]:
    """A data type that is given by a number that stands for none.

    Enums may be written as numbers, and the server does not look whether it knows them. It then expects the data type
    "invalid", which no request can have.

    Bad:
        input [ { name: "x" data_type: 77 dims: [ 4 ] } ]
    Good:
        input [ { name: "x" data_type: 11 dims: [ 4 ] } ]
    """
    for tensor in tensors_of(model.config):
        number = tensor.value.data_type
        if number not in _data_types():
            text = f"{tensor.word} has the data type {number}, which is none"
            yield model.found(f"{tensor.path}.data_type", text, "write its name, such as TYPE_FP32")


@cache
def _data_types() -> Collection[int]:
    from generator.config.messages import ModelConfig

    tensor = ModelConfig.DESCRIPTOR.fields_by_name["input"].message_type
    return frozenset(tensor.fields_by_name["data_type"].enum_type.values_by_number)
