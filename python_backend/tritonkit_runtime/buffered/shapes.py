"""The sizes of declared tensors in buffers: fixed, for a batch of so many items of one length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from tritonkit_runtime.batch import Array
from tritonkit_runtime.dtypes import BUFFER_DTYPES
from tritonkit_runtime.parameters import ParameterError, TensorSpec


class Size(NamedTuple):
    """What is run: a batch of so many items, and the length of their open axis (0: no tensor has one)."""

    items: int
    length: int = 0

    def __str__(self) -> str:
        return f"{self.items} of length {self.length}" if self.length else str(self.items)


def sizes_of(items: Iterable[int], lengths: Sequence[int]) -> tuple[Size, ...]:
    """Every size of batch in every length, the smallest first; without lengths, of none."""
    return tuple(sorted(Size(count, length) for count in items for length in lengths or (0,)))


@dataclass(frozen=True)
class Fixed:
    """A tensor whose item has a fixed size, but for an axis of -1, whose length each batch has its own of.

    `item` are its dims without the batch axis. `most_bytes` is not None for an output whose shape depends on the
    data: what it can need for the largest batch. It is copied whole, and the engine says how much of it counts.
    """

    name: str
    triton: str
    item: tuple[int, ...]
    most_bytes: int | None = None

    @cached_property  # what is asked for with every batch is found once
    def dtype(self) -> np.dtype[Any]:
        """numpy's type; BF16 is held as uint16."""
        return BUFFER_DTYPES[self.triton]

    @cached_property
    def is_open(self) -> bool:
        """Whether it has an axis whose length each batch has its own of."""
        return self.most_bytes is None and -1 in self.item

    @cached_property
    def _fixed_bytes(self) -> int:
        return math.prod(self._at(0)) * self.dtype.itemsize

    def item_bytes(self, length: int = 0) -> int:
        """Bytes of one item."""
        return math.prod(self._at(length)) * self.dtype.itemsize if length else self._fixed_bytes

    def _at(self, length: int) -> tuple[int, ...]:
        return tuple(length if axis < 0 else axis for axis in self.item)

    def shape(self, size: int, batched: bool, length: int = 0) -> tuple[int, ...]:
        """Dims of a batch of `size` items; without a batch axis, the item's own."""
        return (size, *self._at(length)) if batched else self._at(length)

    def bytes_of(self, size: int, length: int = 0) -> int:
        """Bytes of a batch of `size` items."""
        return self.most_bytes if self.most_bytes is not None else size * self.item_bytes(length)

    def cut(self, array: Array, length: int, batched: bool) -> Array:
        """A view of the array that ends at `length` along the open axis; the array, where there is none."""
        if not self.is_open:
            return array
        before = self.item.index(-1) + batched
        return array[(*[slice(None)] * before, slice(length))]

    def shown(self, size: int, batched: bool, length: int = 0) -> str:
        """`images FP32 [64, 3, 224, 224]`, for messages."""
        if self.most_bytes is not None:
            return f"{self.name} {self.triton} (its shape depends on the data)"
        return f"{self.name} {self.triton} {list(self.shape(size, batched, length))}"


def fixed(
    declared: Iterable[TensorSpec], most: Mapping[str, int] | None = None, *, is_open: bool = False
) -> tuple[Fixed, ...]:
    """The tensors as buffers hold them; `most`: output whose shape depends on the data -> its bytes at most.

    `is_open`: whether one axis may be of any length (-1). ParameterError for text, which has no fixed size, for a
    length that is any where none may be, and for a second one.
    """
    found = []
    for tensor in declared:
        if tensor.dtype not in BUFFER_DTYPES:
            raise ParameterError(
                f"{tensor} cannot lie in a buffer of fixed size; valid types are {', '.join(BUFFER_DTYPES)}"
            )
        limit = (most or {}).get(tensor.name)
        if limit is None and -1 in tensor.dims and not is_open:
            raise ParameterError(
                f"{tensor} has a length of -1 (any), and buffers are allocated once: declare the length that is run, "
                "and pad what is shorter, or give `lengths` to be ready for"
            )
        if limit is None and tensor.dims.count(-1) > 1:
            raise ParameterError(f"{tensor} has two axes of any length (-1); buffers are made for one")
        found.append(Fixed(tensor.name, tensor.dtype, tensor.dims, limit))
    return tuple(found)
