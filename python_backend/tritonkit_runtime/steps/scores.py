"""softmax and top_k: from an engine's numbers to an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tritonkit_runtime.batch import Array, Batch, Tensors
from tritonkit_runtime.steps.base import Kind, shape_of


class Softmax:
    """exp(x) / sum(exp(x)) over the last axis, in FP32, after the largest value is subtracted."""

    takes: ClassVar[tuple[Kind, ...]] = ("array",)
    gives: ClassVar[Kind] = "array"

    def __call__(self, _batch: Batch, value: Array) -> npt.NDArray[np.float32]:
        """FP32 of the same shape, a new array; ValueError for strings or items without an axis."""
        scores = _scores(value)
        # Infinities give NaN, as the formula does; that is no reason for a warning in a server's log.
        with np.errstate(invalid="ignore"):
            result: npt.NDArray[np.float32] = scores - scores.max(axis=-1, keepdims=True)
            np.exp(result, out=result)
            result /= result.sum(axis=-1, keepdims=True)
        return result


class TopK:
    """The k largest of the last axis, descending; of equal ones the lower index first, NaN last.

    Gives two tensors [..., k]: `label_output` (STRING with labels, else INT64) and `score_output` (FP32).
    """

    takes: ClassVar[tuple[Kind, ...]] = ("array",)
    gives: ClassVar[Kind] = "tensors"

    def __init__(
        self,
        *,
        k: int,
        labels: Sequence[str] | None = None,
        label_output: str = "label",
        score_output: str = "score",
    ) -> None:
        if not isinstance(k, int) or k < 1:
            raise ValueError(f"k is {k!r}; it must be a whole number of at least 1")
        if labels is not None and (isinstance(labels, str) or not all(isinstance(x, str) for x in labels)):
            raise ValueError("labels must be a list of strings, or null for class numbers")
        if labels is not None and k > len(labels):
            raise ValueError(f"k is {k}, but there are {len(labels)} labels")
        if label_output == score_output:
            raise ValueError(f"label_output and score_output are both {label_output!r}")
        self.k = k
        self.labels = None if labels is None else np.array([x.encode() for x in labels], dtype=np.object_)
        self.label_output, self.score_output = label_output, score_output

    @property
    def outputs(self) -> tuple[str, str]:
        """The names of the two tensors."""
        return self.label_output, self.score_output

    def __call__(self, _batch: Batch, value: Array) -> Tensors:
        """Both tensors; ValueError when the number of classes does not suit k or the labels."""
        scores = _scores(value)
        classes = scores.shape[-1]
        if self.labels is not None and classes != len(self.labels):
            raise ValueError(f"there are {len(self.labels)} labels, but {classes} classes: {shape_of(value)}")
        if classes < self.k:
            raise ValueError(f"k is {self.k}, but there are {classes} classes: {shape_of(value)}")
        chosen = _largest(scores.reshape(-1, classes), self.k).reshape(*scores.shape[:-1], self.k)
        return {
            self.label_output: chosen.astype(np.int64, copy=False) if self.labels is None else self.labels[chosen],
            self.score_output: np.take_along_axis(scores, chosen, axis=-1),
        }


def _scores(value: Array) -> npt.NDArray[np.float32]:
    if value.dtype == object or value.ndim < 2 or not value.shape[-1]:
        raise ValueError(f"takes numbers [N, ..., classes], found {value.dtype} {shape_of(value)}")
    return value.astype(np.float32, copy=False)


def _largest(rows: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.intp]:
    """Indices [M, k] of the k largest of each row of [M, classes]."""
    keys = -rows  # ascending order of the negated values: a stable sort then keeps equal ones in order
    if k >= rows.shape[1]:
        return np.argsort(keys, axis=1, kind="stable")
    # Twenty times as fast as sorting a thousand classes. Which of several equal values at the edge
    # it takes is chance, so rows with such values (or NaN, which equals nothing) are sorted whole.
    chosen = np.sort(np.argpartition(keys, k - 1, axis=1)[:, :k], axis=1)
    candidates = np.take_along_axis(keys, chosen, axis=1)
    chosen = np.take_along_axis(chosen, np.argsort(candidates, axis=1, kind="stable"), axis=1)
    edge = candidates.max(axis=1, keepdims=True)
    unclear = np.flatnonzero(np.count_nonzero(keys <= edge, axis=1) != k)
    if unclear.size:
        chosen[unclear] = np.argsort(keys[unclear], axis=1, kind="stable")[:, :k]
    return chosen
