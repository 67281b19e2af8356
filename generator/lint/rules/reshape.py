"""Reshapes: the shape that a model wants of a tensor, beside the one that requests have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from generator.lint.model import Model
from generator.lint.rule import ERROR, Finding, rule
from generator.lint.rules.tensors import VALID_LENGTH, is_no_length, tensors_of

_SOURCE = "core model_config_utils.cc, ValidateIOShape"


@rule("TK624", ERROR, _SOURCE)
def empty_reshape(model: Model) -> Iterator[Finding]:
    """An empty reshape in a model that does not batch.

    An empty `reshape` takes all axes away, so that only the batch axis is left. With `max_batch_size: 0` there is no
    batch axis, and the tensor would have no shape at all.

    Bad:
        max_batch_size: 0
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] reshape: { shape: [ ] } } ]
    Good:
        max_batch_size: 4
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] reshape: { shape: [ ] } } ]
    """
    if model.completed.max_batch_size != 0 or model.is_open:
        return
    for tensor in tensors_of(model.completed):
        if tensor.value.HasField("reshape") and not tensor.value.reshape.shape:
            text = f"{tensor.word} is reshaped to nothing, and the model has no batch axis"
            yield model.found(f"{tensor.path}.reshape", text, "set max_batch_size, or give the reshape an axis")


@rule("TK625", ERROR, _SOURCE, local=True)
def bad_reshape_dim(model: Model) -> Iterator[Finding]:
    """An axis in reshape that is neither 1 or more nor -1.

    The same holds for `reshape` as for `dims`: -1 stands for an axis of any length, and 0 for nothing. It does not
    mean "the same as in dims", as in other programs.

    Bad:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] reshape: { shape: [ 0, 1 ] } } ]
    Good:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] reshape: { shape: [ 4, 1 ] } } ]
    """
    for tensor in tensors_of(model.config):
        for i, dim in enumerate(tensor.value.reshape.shape if tensor.value.HasField("reshape") else ()):
            if is_no_length(dim):
                text = f"{tensor.word} is reshaped to an axis of length {dim}; {VALID_LENGTH}"
                yield model.found(f"{tensor.path}.reshape.shape[{i}]", text, "write the length, or -1")


@rule("TK626", ERROR, _SOURCE)
def reshape_of_another_size(model: Model) -> Iterator[Finding]:
    """A reshape that does not hold as many elements as dims.

    A reshape moves no data: both shapes have the same number of elements and of axes of any length (-1), and between
    two of those the products are equal. Only a single element may be reshaped to nothing.

    Bad:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] reshape: { shape: [ 2, 3 ] } } ]
    Good:
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] reshape: { shape: [ 2, 2 ] } } ]
    """
    for tensor in tensors_of(model.completed):
        if not tensor.value.HasField("reshape"):
            continue
        dims, shape = list(tensor.value.dims), list(tensor.value.reshape.shape)
        if not dims or any(map(is_no_length, dims + shape)) or (not shape and model.completed.max_batch_size == 0):
            continue
        if not _holds_the_same(dims, shape):
            text = f"{tensor.word} has dims {dims} and is reshaped to {shape}, which {_difference(dims, shape)}"
            yield model.found(f"{tensor.path}.reshape", text, "make both hold the same elements")


def _holds_the_same(dims: Sequence[int], shape: Sequence[int]) -> bool:
    size, reshaped = _size(dims), _size(shape)
    if size != reshaped and not (reshaped == 0 and size == 1):
        return False
    return size != -1 or _trunks(dims) == _trunks(shape)


def _difference(dims: Sequence[int], shape: Sequence[int]) -> str:
    if dims.count(-1) != shape.count(-1):
        return "does not have as many axes of any length (-1)"
    return "holds another number of elements" + (" between its axes of any length" if -1 in dims else "")


def _size(dims: Sequence[int]) -> int:
    """The number of elements as the server counts them: -1 for any, 0 for no axis, in 64 bits."""
    if not dims:
        return 0
    return -1 if -1 in dims else _product(dims)


def _trunks(dims: Sequence[int]) -> list[int]:
    """The products between the axes of any length."""
    found, start = [], 0
    for i, dim in enumerate(dims):
        if dim == -1:
            found.append(_product(dims[start:i]))
            start = i + 1
    return [*found, _product(dims[start:])]


def _product(dims: Sequence[int]) -> int:
    product = 1
    for dim in dims:
        product = (product * dim + 2**63) % 2**64 - 2**63
    return product
