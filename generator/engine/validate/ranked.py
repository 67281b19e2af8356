"""Outputs that are rows in the order of a score, as behind NMS: which they are, and how their rows are paired."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from generator.engine.validate.numbers import is_float

if TYPE_CHECKING:
    from generator.engine.runner import Array, Tensors


def ranked_outputs(answers: Sequence[Tensors]) -> frozenset[str]:
    """The float outputs with ranked rows: [items, k, …], where another output is a score [items, k] that never rises
    and something goes with each score: integers [items, k], or rows of values [items, k, n].

    `answers` are FP32's to several batches. The scores of classes do not fall from the first to the last of them for
    every item, and nothing goes with each.
    """
    if not answers:
        return frozenset()
    found: set[str] = set()
    first = answers[0]
    for name, score in first.items():
        if not (is_float(score) and score.ndim == 2 and score.shape[1] > 1 and _falls([a[name] for a in answers])):
            continue
        beside = {n: v for n, v in first.items() if n != name and v.ndim >= 2 and v.shape[1] == score.shape[1]}
        if any(value.ndim > 2 or value.dtype.kind in "iu" for value in beside.values()):
            found |= {name, *(n for n, value in beside.items() if is_float(value))}
    return frozenset(found)


def _falls(scores: Sequence[Array]) -> bool:
    """Whether no row of any rises, and not all are of one value."""
    import numpy as np

    steps = [np.diff(np.asarray(score, dtype=np.float64), axis=1) for score in scores]
    return all((step <= 0).all() for step in steps) and any((step < 0).any() for step in steps)


def nearest_rows(reference: Array, candidate: Array) -> Array:
    """`candidate` [items, k, …] with the rows of each item in the order of the reference's that they are nearest to.

    Each row is taken once; what is not finite is far from everything. Arrays of unlike shapes stay as they are.
    """
    import numpy as np

    if reference.shape != candidate.shape:
        return candidate
    items, rows = reference.shape[:2]
    a, b = (np.asarray(x, dtype=np.float64).reshape(items, rows, -1) for x in (reference, candidate))
    order = np.empty((items, rows), dtype=np.int64)
    for item in range(items):
        free = np.ones(rows, dtype=bool)
        for row in range(rows):
            far = np.abs(b[item] - a[item, row]).sum(axis=1)
            order[item, row] = np.argmin(np.where(free & np.isfinite(far), far, np.where(free, 1e300, np.inf)))
            free[order[item, row]] = False
    result: Array = candidate[np.arange(items)[:, None], order]
    return result
