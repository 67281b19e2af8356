"""One execution's requests as one batch: concatenated once, split once, bad items kept apart."""

from __future__ import annotations

import bisect
import itertools
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Tensors = dict[str, Array]

_EXPLAINED_ITEMS = 3  # a message says of so many bad items what is wrong; of the rest it has the index


class Joined(Mapping[str, Array]):
    """The tensors of several requests as one: name -> [size, ...], concatenated when it is asked for, once.

    Whoever copies the rows somewhere anyway takes them from `parts`, and nothing is concatenated. `names`: name here
    -> name in the requests; without it, all of them as they are.
    """

    def __init__(self, requests: Sequence[Mapping[str, Array]], names: Mapping[str, str] | None = None) -> None:
        self._requests = requests
        self._names = {name: name for name in requests[0]} if names is None else names
        self._whole: Tensors = {}

    def __getitem__(self, name: str) -> Array:
        own = self._names[name]
        if own not in self._whole:
            self._whole[own] = np.concatenate([tensors[own] for tensors in self._requests])
        return self._whole[own]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def parts(self, name: str) -> list[Array]:
        """The tensor of each request, in order."""
        own = self._names[name]
        return [tensors[own] for tensors in self._requests]

    def renamed(self, names: Mapping[str, str]) -> Joined:
        """Some of the tensors under other names: the new one -> the one here. What is concatenated is shared."""
        other = Joined(self._requests, {name: self._names[own] for name, own in names.items()})
        other._whole = self._whole
        return other


@dataclass
class Batch:
    """Tensors of all requests of one execution.

    `tensors`: name -> [size, ...] when `batched` (`Joined` of several requests), else one request's tensors without a
    batch axis (size 1). `counts`: items of each request, in order. `failed`: item of the batch -> why it is bad.
    `lengths`: of an output with a padded axis, how much of it each request needs; `axes`: which that is, where it is
    not the second. `broken`: request -> why it failed, through no fault of its items. `may_wait`: whether what its
    answers are held in may be waited for; of later batches of one execution it may be held by the earlier ones.
    """

    tensors: Mapping[str, Array]
    counts: tuple[int, ...]
    batched: bool = True
    failed: dict[int, str] = field(default_factory=dict)
    lengths: dict[str, tuple[int, ...]] = field(default_factory=dict)
    axes: dict[str, int] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)
    may_wait: bool = True

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
        """Request -> why it failed, in a sentence that names bad items by their index in it, if it has several."""
        bad: dict[int, dict[int, str]] = {}
        for index in sorted(self.failed):
            # An empty request starts where the next begins: bisect_right finds the one that holds the item.
            request = bisect.bisect_right(self._starts, index) - 1
            bad.setdefault(request, {})[index - self._starts[request]] = self.failed[index]
        return {request: _sentence(items, self.counts[request]) for request, items in bad.items()} | self.broken

    def split(self, outputs: Mapping[str, Array]) -> list[Tensors]:
        """Each request's part of [size, ...] outputs, as views; copied where it is cut to its own `lengths`."""
        if not self.batched or len(self.counts) == 1:
            return [dict(outputs)]
        return [
            {name: self._cut(name, request, array[start:stop]) for name, array in outputs.items()}
            for request, (start, stop) in enumerate(itertools.pairwise(self._starts))
        ]

    def _cut(self, name: str, request: int, array: Array) -> Array:
        if name not in self.lengths:
            return array
        whole = (slice(None),) * self.axes.get(name, 1)
        return np.ascontiguousarray(array[(*whole, slice(self.lengths[name][request]))])


def concatenate(requests: Sequence[Mapping[str, Array]], *, may_wait: bool = True) -> Batch:
    """One batch of requests whose tensors agree in all but their first axis; nothing is copied yet.

    ValueError when a request's tensors differ in their number of items.
    """
    counts = tuple(_items(tensors) for tensors in requests)
    if len(requests) == 1:
        return Batch(dict(requests[0]), counts, may_wait=may_wait)
    return Batch(Joined(requests), counts, may_wait=may_wait)


def single(tensors: Mapping[str, Array], *, may_wait: bool = True) -> Batch:
    """A request of a model without a batch axis: a batch of one item."""
    return Batch(dict(tensors), (1,), batched=False, may_wait=may_wait)


def _items(tensors: Mapping[str, Array]) -> int:
    lengths = [len(array) for array in tensors.values()]
    if not lengths or lengths.count(lengths[0]) != len(lengths):
        told = ", ".join(f"{name} has {length}" for name, length in zip(tensors, lengths, strict=True))
        raise ValueError(f"the tensors of a request differ in their number of items: {told}")
    return lengths[0]


def _sentence(items: Mapping[int, str], count: int) -> str:
    """`items`: index within the request -> why it is bad; `count`: how many items the request has."""
    if count == 1:
        return items[0]
    indices = list(items)
    shown = "; ".join(f"item {index}: {items[index]}" for index in indices[:_EXPLAINED_ITEMS])
    rest = ", ".join(map(str, indices[_EXPLAINED_ITEMS:]))
    return f"{shown}; also bad: items {rest}" if rest else shown
