"""The check of what a program gives: all declared tensors, of their type and shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from tritonkit_runtime.batch import Array, Tensors
from tritonkit_runtime.dtypes import ALL_DTYPES, NUMPY_DTYPES
from tritonkit_runtime.parameters import TensorSpec
from tritonkit_runtime.placed import OnDevice

_TRITON_DTYPES = {dtype: name for name, dtype in NUMPY_DTYPES.items()}


def check_outputs(found: object, declared: Sequence[TensorSpec], items: int | None) -> Tensors:
    """`found` as the declared tensors: names, types, dims and, unless `items` is None, the batch axis.

    What an engine left on its device (OnDevice) passes as it is. Arrays of str become object arrays; nothing else is
    converted. ValueError names the first wrong tensor.
    """
    if type(found) is dict and len(found) == len(declared):
        # As it mostly is: every tensor is there, of its very type, and every length is declared.
        right: Tensors = {}
        for tensor in declared:
            array = found.get(tensor.name)
            shape = tensor.dims if items is None else (items, *tensor.dims)
            if type(array) is not np.ndarray or array.dtype is not ALL_DTYPES[tensor.dtype] or array.shape != shape:
                break
            right[tensor.name] = np.ascontiguousarray(array)
        else:
            return right
    if not isinstance(found, Mapping):
        raise ValueError(f"gave {type(found).__name__}, expected a dictionary of name to array")
    names = {tensor.name for tensor in declared}
    if extra := [name for name in found if name not in names]:
        raise ValueError(f"gave a tensor {extra[0]!r} that is not declared; declared are {', '.join(names)}")
    return {tensor.name: _check_output(found, tensor, items) for tensor in declared}


def _check_output(found: Mapping[str, object], tensor: TensorSpec, items: int | None) -> Array:
    if tensor.name not in found:
        raise ValueError(f"did not give the output {tensor}")
    array = found[tensor.name]
    if not isinstance(array, np.ndarray | OnDevice):
        raise ValueError(f"gave {type(array).__name__} for the output {tensor}, expected a numpy array")
    if tensor.dtype == "STRING" and isinstance(array, np.ndarray) and array.dtype.kind in "SU":
        array = array.astype(np.object_)
    expected = tensor.dims if items is None else (items, *tensor.dims)
    fits = len(array.shape) == len(expected) and all(
        wanted in (-1, length) for length, wanted in zip(array.shape, expected, strict=True)
    )
    if array.dtype != ALL_DTYPES[tensor.dtype] or not fits:
        raise ValueError(
            f"gave {_TRITON_DTYPES.get(array.dtype, array.dtype)} {list(array.shape)} for the output "
            f"{tensor.name!r}, expected {tensor.dtype} {list(expected)}"
        )
    return cast("Array", array) if isinstance(array, OnDevice) else np.ascontiguousarray(array)
