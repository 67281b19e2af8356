"""One execution's requests as one batch: concatenated once, split once, bad items kept apart."""

from __future__ import annotations

import bisect
import itertools
import operator
from collections.abc import Iterator, KeysView, Mapping, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Tensors = dict[str, Array]

_EXPLAINED_ITEMS = 3  # a message says of so many bad items what is wrong; of the rest it has the index


@final  # so that its type can be compared: to ask an abstract class for its instances is a call in Python
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

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._names.keys()

    def parts(self, name: str) -> list[Array]:
        """The tensor of each request, in order."""
        own = self._names[name]
        return [tensors[own] for tensors in self._requests]

    def renamed(self, names: Mapping[str, str]) -> Joined:
        """Some of the tensors under other names: the new one -> the one here. What is concatenated is shared."""
        other = Joined(self._requests, {name: self._names[own] for name, own in names.items()})
        other._whole = self._whole
        return other


class Batch:
    """Tensors of all requests of one execution.

    `tensors`: name -> [size, ...] when `batched` (`Joined` of several requests), else one request's tensors without a
    batch axis (size 1). `counts`: items of each request, in order; `size`: of all. `failed`: item of the batch -> why
    it is bad.
    `lengths`: of an output with a padded axis, how much of it each request needs; `axes`: which that is, where it is
    not the second. `broken`: request -> why it failed, through no fault of its items. `may_wait`: whether what its
    answers are held in may be waited for; of later batches of one execution it may be held by the earlier ones.
    """

    __slots__ = ("axes", "batched", "broken", "counts", "failed", "lengths", "may_wait", "size", "tensors")

    def __init__(
        self, tensors: Mapping[str, Array], counts: tuple[int, ...], batched: bool = True, *,
        lengths: dict[str, tuple[int, ...]] | None = None, may_wait: bool = True,
    ) -> None:  # fmt: skip
        self.tensors, self.counts, self.batched, self.may_wait = tensors, counts, batched, may_wait
        self.size = sum(counts)
        self.failed: dict[int, str] = {}
        self.lengths: dict[str, tuple[int, ...]] = {} if lengths is None else lengths
        self.axes: dict[str, int] = {}
        self.broken: dict[int, str] = {}

    def _starts(self) -> tuple[int, ...]:
        """The first item of each request, and the end of the last."""
        return (0, *itertools.accumulate(self.counts))

    def fail(self, index: int, message: str) -> None:
        """Marks item `index` of the batch as bad; the first message counts. IndexError outside the batch."""
        index = operator.index(index)
        if not 0 <= index < self.size:
            raise IndexError(f"item {index} was marked as bad, but the batch has items 0 to {self.size - 1}")
        self.failed.setdefault(index, str(message) or "the item is bad; no reason was given")

    def errors(self) -> dict[int, str]:
        """Request -> why it failed, in a sentence that names bad items by their index in it, if it has several."""
        bad: dict[int, dict[int, str]] = {}
        starts = self._starts()
        for index in sorted(self.failed):
            # An empty request starts where the next begins: bisect_right finds the one that holds the item.
            request = bisect.bisect_right(starts, index) - 1
            bad.setdefault(request, {})[index - starts[request]] = self.failed[index]
        return {request: _sentence(items, self.counts[request]) for request, items in bad.items()} | self.broken

    def split(self, outputs: Mapping[str, Array]) -> list[Tensors]:
        """Each request's part of [size, ...] outputs, as views; copied where it is cut to its own `lengths`."""
        if not self.batched or len(self.counts) == 1:
            return [dict(outputs)]
        parts: list[Tensors] = []
        for request, (start, stop) in enumerate(itertools.pairwise(self._starts())):
            part: Tensors = {}
            for name, array in outputs.items():
                rows = array[start:stop]
                part[name] = self._cut(name, request, rows) if name in self.lengths else rows
            parts.append(part)
        return parts

    def _cut(self, name: str, request: int, array: Array) -> Array:
        whole = (slice(None),) * self.axes.get(name, 1)
        return np.ascontiguousarray(array[(*whole, slice(self.lengths[name][request]))])


def concatenate(requests: Sequence[Mapping[str, Array]], *, may_wait: bool = True) -> Batch:
    """One batch of requests whose tensors agree in all but their first axis; nothing is copied yet.

    ValueError when a request's tensors differ in their number of items.
    """
    if len(requests) == 1:
        return Batch(requests[0], (_items(requests[0]),), may_wait=may_wait)
    return Batch(Joined(requests), tuple(map(_items, requests)), may_wait=may_wait)


def single(tensors: Mapping[str, Array], *, may_wait: bool = True) -> Batch:
    """A request of a model without a batch axis: a batch of one item."""
    return Batch(tensors, (1,), batched=False, may_wait=may_wait)


def _items(tensors: Mapping[str, Array]) -> int:
    items = -1
    for array in tensors.values():
        if items < 0:
            items = len(array)
        elif len(array) != items:
            items = -1
            break
    if items < 0:
        told = ", ".join(f"{name} has {len(array)}" for name, array in tensors.items())
        raise ValueError(f"the tensors of a request differ in their number of items: {told}")
    return items


def _sentence(items: Mapping[int, str], count: int) -> str:
    """`items`: index within the request -> why it is bad; `count`: how many items the request has."""
    if count == 1:
        return items[0]
    indices = list(items)
    shown = "; ".join(f"item {index}: {items[index]}" for index in indices[:_EXPLAINED_ITEMS])
    rest = ", ".join(map(str, indices[_EXPLAINED_ITEMS:]))
    return f"{shown}; also bad: items {rest}" if rest else shown
