"""numpy's types and TensorRT's: what a plan stores, and what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

# TensorRT's word → numpy's. bf16 is stored as its 16 bits.
_TYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "uint16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "UINT8": "uint8",
}


def numpy_type(word: str) -> str:
    """numpy's name of the type that holds TensorRT's `word`. Raises ValueError for one that it lacks (fp8, int4)."""
    if word not in _TYPES:
        raise ValueError(f"tensors of TensorRT's type {word} cannot be handled; known: {', '.join(_TYPES)}")
    return _TYPES[word]


def as_stored(array: Array, word: str, name: str) -> Array:
    """A contiguous array of the plan's type. Raises ValueError when values of the tensor `name` would change."""
    import numpy as np

    if word == "BF16":
        return np.ascontiguousarray(_to_bf16(array))
    wanted = np.dtype(numpy_type(word))
    if array.dtype == wanted:
        return np.ascontiguousarray(array)
    integers = np.issubdtype(array.dtype, np.integer) and np.issubdtype(wanted, np.integer)
    if not integers and not np.can_cast(array.dtype, wanted, "same_kind"):
        raise ValueError(f"{name!r} is {array.dtype}, and the plan takes {wanted}")
    changed = array.astype(wanted)
    if integers and not np.array_equal(changed, array):
        raise ValueError(f"{name!r} has values that {wanted}, which the plan takes, cannot hold")
    return np.ascontiguousarray(changed)


def as_given(array: Array, word: str) -> Array:
    """What the caller gets: bf16 as float32, everything else as it is."""
    import numpy as np

    if word != "BF16":
        return array
    return (array.astype(np.uint32) << 16).view(np.float32)


def _to_bf16(array: Array) -> Array:
    """The upper 16 bits of float32, rounded to nearest, ties to even; NaN stays NaN."""
    import numpy as np

    exact = np.ascontiguousarray(array, np.float32)
    bits = exact.view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(exact), np.uint16(0x7FC0), rounded).reshape(exact.shape)
