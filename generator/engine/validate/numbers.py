"""How far apart two arrays are, item by item: the leading axis counts items, everything else is one item's answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

# What equal arrays have instead of infinity, which JSON cannot hold; float64 itself ends near 320 dB.
MOST_DB = 200.0


def is_float(array: Array) -> bool:
    """float16, float32, float64, or a type of ml_dtypes that numpy does not know as one (bfloat16)."""
    name: str = array.dtype.name
    return name.startswith(("float", "bfloat"))


def flat(array: Array) -> Array:
    """[items, …] of any float type as float64 [items, values]."""
    import numpy as np

    return np.asarray(array, dtype=np.float64).reshape(len(array), math.prod(array.shape[1:]))


def cosine(reference: Array, candidate: Array) -> Array:
    """The cosine of the angle between two answers, [items], -1 to 1: a·b / (|a| |b|) (Salton and McGill, 1983).

    Two answers of nothing but zeros agree (1); one of them alone does not (0). Each is scaled to a largest value
    of 1 first, so that squares cannot overflow.
    """
    import numpy as np

    a, b = _scaled(flat(reference)), _scaled(flat(candidate))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    both_zero = ~a.any(axis=1) & ~b.any(axis=1)
    # The quotient of equal answers may miss 1 by a rounding error in either direction.
    value = np.clip((a * b).sum(axis=1) / np.where(lengths == 0, 1.0, lengths), -1.0, 1.0)
    result: Array = np.where(both_zero, 1.0, value)
    return result


def powers(reference: Array, candidate: Array) -> tuple[Array, Array]:
    """Signal Σa² and noise Σ(a−b)² of each item, both [items]."""
    a = flat(reference)
    difference = a - flat(candidate)
    return (a * a).sum(axis=1), (difference * difference).sum(axis=1)


def decibels(signal: Array, noise: Array) -> Array:
    """Signal to noise, 10·log10(Σa² / Σ(a−b)²), kept within ±MOST_DB.

    The same as the SQNR by which quantisation is judged: 20·log10(|a| / |a−b|), as ONNX Runtime's own debugging aid
    (onnxruntime.quantization.qdq_loss_debug) has it. Nothing instead of nothing has no noise: MOST_DB.
    """
    import numpy as np

    signal, noise = np.asarray(signal, dtype=np.float64), np.asarray(noise, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = 10.0 * (np.log10(signal) - np.log10(noise))
    value = np.where(noise == 0, MOST_DB, value)
    result: Array = np.clip(np.nan_to_num(value, nan=-MOST_DB), -MOST_DB, MOST_DB)
    return result


def top1_agreement(reference: Array, candidate: Array) -> Array:
    """[items], 0 to 1: of the item's rows (its last axis), how many have their largest value at the same place.

    Integers, booleans and text are answers already (an arg-max, the first of a top-k): their first value counts.
    """
    import numpy as np

    rows, length = math.prod(reference.shape[1:-1]), (reference.shape[-1] if reference.ndim > 1 else 1)
    a, b = (x.reshape(len(x), rows, length) for x in (reference, candidate))
    if a.shape[-1] == 0:
        return np.ones(len(a))
    if is_float(reference):
        same = np.argmax(flat_rows(a), axis=-1) == np.argmax(flat_rows(b), axis=-1)
    else:
        same = a[..., 0] == b[..., 0]
    result: Array = same.mean(axis=1) if same.shape[1] else np.ones(len(a))
    return result


def flat_rows(array: Array) -> Array:
    """As float64 of the same shape: arg-max of numpy does not know bfloat16."""
    import numpy as np

    return np.asarray(array, dtype=np.float64)


def not_finite(reference: Array, candidate: Array) -> Array:
    """[items]: how many values are NaN, or an infinity that the reference does not have at that place."""
    import numpy as np

    a, b = flat(reference), flat(candidate)
    result: Array = (~np.isfinite(b) & ~(np.isinf(b) & (a == b))).sum(axis=1)
    return result


def _scaled(rows: Array) -> Array:
    import numpy as np

    largest = np.abs(rows).max(axis=1, initial=0.0, keepdims=True)
    result: Array = rows / np.where(largest == 0, 1.0, largest)
    return result
