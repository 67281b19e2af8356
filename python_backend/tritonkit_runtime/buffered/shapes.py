"""The sizes of declared tensors in buffers: fixed, for a batch of so many items."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tritonkit_runtime.dtypes import BUFFER_DTYPES
from tritonkit_runtime.parameters import ParameterError, TensorSpec


@dataclass(frozen=True)
class Fixed:
    """A tensor whose item has a fixed size. `item` are its dims without the batch axis.

    `most_bytes` is not None for an output whose shape depends on the data: what it can need for the largest batch.
    It is copied whole, and the engine says how much of it counts.
    """

    name: str
    triton: str
    item: tuple[int, ...]
    most_bytes: int | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """numpy's type; BF16 is held as uint16."""
        return BUFFER_DTYPES[self.triton]

    @property
    def item_bytes(self) -> int:
        """Bytes of one item."""
        return math.prod(self.item) * self.dtype.itemsize

    def shape(self, size: int, batched: bool) -> tuple[int, ...]:
        """Dims of a batch of `size` items; without a batch axis, the item's own."""
        return (size, *self.item) if batched else self.item

    def bytes_of(self, size: int) -> int:
        """Bytes of a batch of `size` items."""
        return self.most_bytes if self.most_bytes is not None else size * self.item_bytes

    def shown(self, size: int, batched: bool) -> str:
        """`images FP32 [64, 3, 224, 224]`, for messages."""
        if self.most_bytes is not None:
            return f"{self.name} {self.triton} (its shape depends on the data)"
        return f"{self.name} {self.triton} {list(self.shape(size, batched))}"


def fixed(declared: Iterable[TensorSpec], most: Mapping[str, int] | None = None) -> tuple[Fixed, ...]:
    """The tensors as buffers hold them; `most`: output whose shape depends on the data -> its bytes at most.

    ParameterError for text, which has no fixed size, and for a length that is any (-1).
    """
    found = []
    for tensor in declared:
        if tensor.dtype not in BUFFER_DTYPES:
            raise ParameterError(
                f"{tensor} cannot lie in a buffer of fixed size; valid types are {', '.join(BUFFER_DTYPES)}"
            )
        limit = (most or {}).get(tensor.name)
        if limit is None and -1 in tensor.dims:
            raise ParameterError(
                f"{tensor} has a length of -1 (any), and buffers are allocated once: declare the length that is run, "
                "and pad what is shorter"
            )
        found.append(Fixed(tensor.name, tensor.dtype, tensor.dims, limit))
    return tuple(found)
