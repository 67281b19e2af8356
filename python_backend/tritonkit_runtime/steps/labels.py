"""labels: from class numbers to their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tritonkit_runtime.batch import Array, Batch
from tritonkit_runtime.steps.base import Kind, shape_of

NONE = -1


class Labels:
    """Whole numbers [N, ...] to the labels of that index, STRING of the same shape; -1, no class, is an empty text.

    What follows an engine whose graph finds the best classes itself.
    """

    takes: ClassVar[tuple[Kind, ...]] = ("array",)
    gives: ClassVar[Kind] = "array"

    def __init__(self, *, labels: Sequence[str]) -> None:
        if isinstance(labels, str) or not labels or not all(isinstance(x, str) for x in labels):
            raise ValueError("labels must be a list of strings, at least one")
        # Index -1 is the last one of it.
        self._labels = np.array([*(x.encode() for x in labels), b""], dtype=np.object_)
        self.count = len(labels)

    def __call__(self, batch: Batch, value: Array) -> Array:
        """Object array of bytes; an item with a number that has no label is bad. ValueError for other types."""
        if value.dtype.kind not in "iu":
            raise ValueError(f"takes whole numbers, found {value.dtype} {shape_of(value)}")
        numbers = value.astype(np.int64, copy=False)
        wrong = (numbers < NONE) | (numbers >= self.count)
        for item in np.flatnonzero(wrong.any(axis=tuple(range(1, wrong.ndim)))):
            first = numbers[item][wrong[item]].flat[0]
            batch.fail(int(item), f"there is no label {first}: there are {self.count}, from 0 on")
        found: Array = self._labels[np.where(wrong, NONE, numbers)]
        return found
