"""Tensors that lie in a GPU's memory, where others are numpy's arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class OnDevice:
    """A tensor in a GPU's memory, in C order without gaps: it stands where an array would and knows its own shape.

    `pointer` is where it begins; `dtype` as buffers hold it (BF16 as uint16). Whoever reads it holds it: `owner` is
    what keeps the memory from being used for something else.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    owner: object

    @property
    def ndim(self) -> int:
        """Axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all numbers."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> OnDevice:
        """Some rows, in place; IndexError for a step other than 1."""
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise IndexError(f"rows of a tensor on a GPU are taken one after the other; found a step of {step}")
        shape = (max(0, stop - start), *self.shape[1:])
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        return OnDevice(self.pointer + start * row_bytes, shape, self.dtype, self.owner)
