"""Items to arrays and results to outputs, checked against the contract: the same for every protocol."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from tritonkit.client.contract import Contract, TensorContract
from tritonkit.client.errors import NOT_AS_TRITON, Code, ItemError, did_you_mean

Array = NDArray[Any]
Value = str | os.PathLike[str] | bytes | bytearray | memoryview | list[bytes] | tuple[bytes, ...] | Array
Item = Value | Mapping[str, Value]
# Files are read before the deadline starts to count: only what surely ends, and fits a message of gRPC, is read.
_LARGEST_FILE_BYTES = 2**30


class Result(Protocol):
    """What tritonclient gives for an answered request, whatever the protocol."""

    def as_numpy(self, name: str) -> Array | None:
        """The output of that name, with its batch axis."""


class ItemFaultError(Exception):
    """Raised inside this package for an item that cannot be sent or an answer that cannot be read."""

    def __init__(self, message: str, code: Code = "invalid_argument") -> None:
        self.error = ItemError(code, message, message)
        super().__init__(message)


def source_of(item: object) -> str:
    """The file that an item names, or nothing."""
    return os.fspath(item) if isinstance(item, (str, os.PathLike)) else ""


def reads_files(item: object) -> bool:
    """Whether `encode` will read a file for this item."""
    values = item.values() if isinstance(item, Mapping) else (item,)
    return any(isinstance(value, (str, os.PathLike)) for value in values)


def encode(contract: Contract, item: Item) -> dict[str, Array]:
    """The arrays of one request, batch axis included; raises ItemFaultError with what was found and wanted."""
    values = _by_name(contract, item)
    batch = (1,) if contract.max_batch_size else ()
    arrays = {}
    for tensor in contract.inputs:
        if tensor.name in values:
            array = _array(tensor, values[tensor.name])
            arrays[tensor.name] = array.reshape(batch + array.shape)
    return arrays


def infer_inputs(input_class: Any, arrays: Mapping[str, Array]) -> list[Any]:
    """tritonclient's InferInputs, of the class that the protocol wants."""
    inputs = []
    for name, array in arrays.items():
        tensor = input_class(name, list(array.shape), np_to_triton_dtype(array.dtype))
        inputs.append(tensor.set_data_from_numpy(array))
    return inputs


def decode(contract: Contract, result: Result) -> dict[str, Array]:
    """The outputs of one item, without the batch axis; raises ItemFaultError if the answer does not fit."""
    outputs = {}
    for tensor in contract.outputs:
        array = _output(result, tensor.name)
        if array is None:
            raise ItemFaultError(f"the answer has no output {tensor.name!r}", "bad_answer")
        if contract.max_batch_size:
            if array.shape[:1] != (1,):
                shape = list(array.shape)
                text = f"output {tensor.name!r} has the shape {shape}: not a batch of one item"
                raise ItemFaultError(text, "bad_answer")
            array = array[0]
        outputs[tensor.name] = _text(array) if tensor.dtype == "STRING" else _writable(array)
    return outputs


def _output(result: Result, name: str) -> Array | None:
    try:
        return result.as_numpy(name)
    except (ValueError, LookupError, TypeError, AttributeError):  # tritonclient takes any JSON for an answer
        raise ItemFaultError(NOT_AS_TRITON, "bad_answer") from None


def _by_name(contract: Contract, item: Item) -> Mapping[str, Value]:
    wanted = ", ".join(f"{t.name} ({t.describe()})" for t in contract.inputs)
    required = contract.required_inputs
    if not isinstance(item, Mapping):
        if len(required) > 1 or not contract.inputs:
            text = f"found one value; {contract.name!r} takes {len(required)}: give a dict with {wanted}"
            raise ItemFaultError(text)
        return {(required or contract.inputs)[0].name: item}
    names = [t.name for t in contract.inputs]
    for name in item:
        if name not in names:
            hint = did_you_mean(str(name), names)
            raise ItemFaultError(f"{contract.name!r} has no input {name!r}; inputs: {wanted}{hint}")
    missing = [t.name for t in required if t.name not in item]
    if missing:
        raise ItemFaultError(f"no value for input {missing[0]!r}; inputs: {wanted}")
    return item


def _array(tensor: TensorContract, value: Value) -> Array:
    if isinstance(value, (str, os.PathLike)):
        _check_file(tensor, value)
        value = _read(tensor, Path(value))
    array = _strings(tensor, value) if tensor.dtype == "STRING" else _numbers(tensor, value)
    if not tensor.accepts(array.shape):
        raise ItemFaultError(_mismatch(tensor, f"{tensor.dtype} {list(array.shape)}"))
    return array


def _check_file(tensor: TensorContract, path: str | os.PathLike[str]) -> None:
    """Before it is opened: opening a FIFO waits, and a device has no end."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError) as error:
        may_be_text = tensor.dtype == "STRING" and isinstance(path, str)
        hint = " (a str names a file; text is passed as bytes)" if may_be_text else ""
        raise _unreadable(path, _reason(error) + hint) from None
    if not stat.S_ISREG(found.st_mode):
        raise _unreadable(path, "it is not a regular file")
    if found.st_size > _LARGEST_FILE_BYTES:
        text = f"{os.fspath(path)} has {found.st_size:,} bytes, and one request carries at most"
        raise ItemFaultError(f"{text} {_LARGEST_FILE_BYTES:,}", "unreadable_file")


def _unreadable(path: str | os.PathLike[str], reason: str) -> ItemFaultError:
    return ItemFaultError(f"cannot read {os.fspath(path)}: {reason}", "unreadable_file")


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _read(tensor: TensorContract, path: Path) -> Value:
    try:
        if tensor.dtype == "STRING":
            return path.read_bytes()
        if path.suffix == ".npy":
            array: Array = np.load(path, allow_pickle=False)
            return array
    except (OSError, ValueError, EOFError, MemoryError) as error:  # a .npy may claim any shape
        raise _unreadable(path, _reason(error)) from None
    raise ItemFaultError(_mismatch(tensor, f"the file {path}") + "; of files only .npy holds an array")


def _strings(tensor: TensorContract, value: object) -> Array:
    if isinstance(value, (bytes, bytearray, memoryview)):
        # One value, whatever the rank: dims [1] and [1, 1] hold it alike.
        array = np.empty((1,) * len(tensor.dims), dtype=np.object_)
        array[...] = bytes(value)
        return array
    if isinstance(value, (list, tuple)):
        array = np.empty(len(value), dtype=np.object_)
        array[:] = value
    elif isinstance(value, np.ndarray) and value.dtype.kind in "SUO":
        array = value.astype(np.object_)
    else:
        raise ItemFaultError(_mismatch(tensor, _describe(value)))
    for index in np.ndindex(array.shape):
        element = array[index]
        if not isinstance(element, (bytes, str)):
            raise ItemFaultError(_mismatch(tensor, f"a {type(element).__name__} among the values"))
        array[index] = element.encode() if isinstance(element, str) else element
    return array


def _numbers(tensor: TensorContract, value: object) -> Array:
    want = np.dtype(triton_to_np_dtype(tensor.dtype))
    if not isinstance(value, (np.ndarray, np.generic)):
        raise ItemFaultError(f"{_mismatch(tensor, _describe(value))}: give a numpy array of {want.name}")
    array = np.asarray(value)
    if array.dtype != want:
        raise ItemFaultError(f"{_mismatch(tensor, _describe(array))}: use .astype('{want.name}')")
    return array


def _mismatch(tensor: TensorContract, found: str) -> str:
    return f"input {tensor.name!r} takes {tensor.describe()}, found {found}"


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        name = np_to_triton_dtype(value.dtype) or value.dtype.name
        return f"{'STRING' if name == 'BYTES' else name} {list(value.shape)}"
    return f"{type(value).__name__}"


def _text(array: Array) -> Array:
    text = np.empty(array.shape, dtype=np.object_)
    try:
        for index in np.ndindex(array.shape):
            text[index] = bytes(array[index]).decode()
    except UnicodeDecodeError:
        return array
    return text


def _writable(array: Array) -> Array:
    """An array of the caller's own: gRPC's are views on a message that cannot be written."""
    return array if array.flags.writeable else array.copy()
