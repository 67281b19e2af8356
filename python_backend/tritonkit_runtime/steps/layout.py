"""channels_first and reshape: steps that change the shape and keep the values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tritonkit_runtime.batch import Array, Batch
from tritonkit_runtime.steps.base import Kind, shape_of


class ChannelsFirst:
    """[N, H, W, C] to [N, C, H, W], contiguous."""

    takes: ClassVar[tuple[Kind, ...]] = ("array",)
    gives: ClassVar[Kind] = "array"

    def __call__(self, _batch: Batch, value: Array) -> Array:
        """A copy, unless there is one channel; ValueError unless the value has four axes."""
        if value.ndim != 4:
            raise ValueError(f"takes [N, H, W, C], found {shape_of(value)}")
        return np.ascontiguousarray(value.transpose(0, 3, 1, 2))


class Reshape:
    """[N, ...] to [N, *dims]: the same values in the same order."""

    takes: ClassVar[tuple[Kind, ...]] = ("array",)
    gives: ClassVar[Kind] = "array"

    def __init__(self, *, dims: Sequence[int]) -> None:
        if not all(isinstance(length, int) and length > 0 for length in dims):
            raise ValueError(f"dims is {dims!r}; it must be a list of lengths of at least 1")
        self.dims = tuple(dims)

    def __call__(self, _batch: Batch, value: Array) -> Array:
        """A view; ValueError when items do not have the number of values that `dims` tells."""
        values = math.prod(value.shape[1:])
        if values != math.prod(self.dims):
            raise ValueError(f"dims {list(self.dims)} do not fit items of {values} values: {shape_of(value)}")
        return value.reshape(len(value), *self.dims)
