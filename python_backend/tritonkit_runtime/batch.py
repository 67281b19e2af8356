"""One execution's requests as one batch: concatenated once, split once, bad items kept apart."""

from __future__ import annotations

import bisect
import itertools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Tensors = dict[str, Array]

_EXPLAINED_ITEMS = 3  # a message says of so many bad items what is wrong; of the rest it has the index


@dataclass
class Batch:
    """Tensors of all requests of one execution.

    `tensors`: name -> [size, ...] when `batched`, else one request's tensors without a batch axis (size 1).
    `counts`: items of each request, in order. `failed`: item of the batch -> why it is bad. `lengths`: of an output
    whose second axis is padded, how much of it each request needs.
    """

    tensors: Tensors
    counts: tuple[int, ...]
    batched: bool = True
    failed: dict[int, str] = field(default_factory=dict)
    lengths: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._starts = (0, *itertools.accumulate(self.counts))

    @property
    def size(self) -> int:
        """Items in the batch."""
        return self._starts[-1]

    def fail(self, index: int, message: str) -> None:
        """Marks item `index` of the batch as bad; the first message counts. IndexError outside the batch."""
        index = operator.index(index)
        if not 0 <= index < self.size:
            raise IndexError(f"item {index} was marked as bad, but the batch has items 0 to {self.size - 1}")
        self.failed.setdefault(index, str(message) or "the item is bad; no reason was given")

    def errors(self) -> dict[int, str]:
        """Request -> one sentence that names its bad items by their index within that request, if it has several."""
        bad: dict[int, dict[int, str]] = {}
        for index in sorted(self.failed):
            # An empty request starts where the next begins: bisect_right finds the one that holds the item.
            request = bisect.bisect_right(self._starts, index) - 1
            bad.setdefault(request, {})[index - self._starts[request]] = self.failed[index]
        return {request: _sentence(items, self.counts[request]) for request, items in bad.items()}

    def split(self, outputs: Mapping[str, Array]) -> list[Tensors]:
        """Each request's part of [size, ...] outputs, as views; copied where it is cut to its own `lengths`."""
        if not self.batched or len(self.counts) == 1:
            return [dict(outputs)]
        return [
            {name: self._cut(name, request, array[start:stop]) for name, array in outputs.items()}
            for request, (start, stop) in enumerate(itertools.pairwise(self._starts))
        ]

    def _cut(self, name: str, request: int, array: Array) -> Array:
        return np.ascontiguousarray(array[:, : self.lengths[name][request]]) if name in self.lengths else array


def concatenate(requests: Sequence[Mapping[str, Array]]) -> Batch:
    """One batch of requests whose tensors agree in all but their first axis; a single request is not copied.

    ValueError when a request's tensors differ in their number of items.
    """
    counts = tuple(_items(tensors) for tensors in requests)
    if len(requests) == 1:
        return Batch(dict(requests[0]), counts)
    names = requests[0]
    return Batch({name: np.concatenate([tensors[name] for tensors in requests]) for name in names}, counts)


def single(tensors: Mapping[str, Array]) -> Batch:
    """A request of a model without a batch axis: a batch of one item."""
    return Batch(dict(tensors), (1,), batched=False)


def _items(tensors: Mapping[str, Array]) -> int:
    lengths = {name: len(array) for name, array in tensors.items()}
    if len(set(lengths.values())) != 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"the tensors of a request differ in their number of items: {told}")
    return next(iter(lengths.values()))


def _sentence(items: Mapping[int, str], count: int) -> str:
    """`items`: index within the request -> why it is bad; `count`: how many items the request has."""
    if count == 1:
        return items[0]
    indices = list(items)
    shown = "; ".join(f"item {index}: {items[index]}" for index in indices[:_EXPLAINED_ITEMS])
    rest = ", ".join(map(str, indices[_EXPLAINED_ITEMS:]))
    return f"{shown}; also bad: items {rest}" if rest else shown
