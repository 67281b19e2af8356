"""Requests packed into batches, and their answers out of them; a bad request costs itself alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tritonkit_runtime.batch import Array, Tensors
from tritonkit_runtime.buffered.errors import BatchError, BrokenError, FullError, ShapeError
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.ring import Ring

Answer = Tensors | BatchError | BrokenError | ShapeError


@dataclass
class _Started:
    """A batch under way: its lane, and of each request its number, first row and items."""

    lane: Lane
    places: list[tuple[int, int, int]]


class Pending:
    """Requests that have been started, as many as there were lanes for; `answers` has to be called, to free them."""

    def __init__(self, ring: Ring, requests: Sequence[Mapping[str, Array]]) -> None:
        self._ring, self._requests = ring, requests
        self._answers: list[Answer | None] = [None] * len(requests)
        # Where the data decides an output's shape, nobody can tell what is whose, or what is padding's.
        self._alone = any(tensor.most_bytes is not None for tensor in ring.engine.outputs)
        self._waiting = deque(self._packed())
        self._started: deque[_Started] = deque()
        self._start_what_can()

    def _packed(self) -> list[list[tuple[int, int]]]:
        """Batches of (request, items): in order, none larger than the largest bucket, no request in two of them."""
        batches: list[list[tuple[int, int]]] = []
        room = 0
        for number, tensors in enumerate(self._requests):
            try:
                items = self._items(tensors)
            except ShapeError as error:
                self._answers[number] = error
                continue
            if not batches or items > room or self._alone:
                batches.append([])
                room = self._ring.buckets.largest
            batches[-1].append((number, items))
            room -= items
        return batches

    def _items(self, tensors: Mapping[str, Array]) -> int:
        """The items of one request, whose tensors are checked; ShapeError."""
        engine = self._ring.engine
        wanted = {tensor.name for tensor in engine.inputs}
        if set(tensors) != wanted:
            given = ", ".join(tensors) or "none"
            raise ShapeError(f"the inputs are {', '.join(sorted(wanted))}; the request has {given}")
        counts = set()
        for tensor in engine.inputs:
            array = tensors[tensor.name]
            item = array.shape[1:] if engine.batched else array.shape
            if array.dtype != tensor.dtype or item != tensor.item or (engine.batched and not array.ndim):
                shape = ["items", *tensor.item] if engine.batched else list(tensor.item)
                expected = f"{tensor.triton} [{', '.join(map(str, shape))}]"
                raise ShapeError(f"input {tensor.name!r} is {array.dtype} {list(array.shape)}, expected {expected}")
            counts.add(len(array) if engine.batched else 1)
        if len(counts) > 1:
            told = ", ".join(f"{tensor.name} has {len(tensors[tensor.name])}" for tensor in engine.inputs)
            raise ShapeError(f"the inputs of a request differ in their number of items: {told}")
        items = counts.pop()
        if self._ring.buckets.of(items) != items and self._alone:
            known = ", ".join(map(str, self._ring.buckets.sizes))
            raise ShapeError(
                f"a batch of {items} items has no bucket of its own, and outputs whose shape depends on the data "
                f"cannot be told from padding; there are {known}"
            )
        return items

    def _start_what_can(self) -> None:
        """Starts batches while there are lanes; waits for one only while it holds none, so none wait in a circle."""
        while self._waiting:
            members = self._waiting.popleft()
            try:
                self._start(members)
            except FullError as error:
                if self._started:
                    self._waiting.appendleft(members)
                    return
                self._fail((number for number, _ in members), error)
            except (BatchError, BrokenError) as error:
                self._fail((number for number, _ in members), error)

    def _start(self, members: Sequence[tuple[int, int]]) -> None:
        lane = self._ring.take(0.0 if self._started else _PATIENCE_S)
        try:
            places = self._fill(lane, members)
            self._ring.start(lane, sum(items for _, items in members))
        except BaseException:
            self._ring.give_back(lane)
            raise
        self._started.append(_Started(lane, places))

    def _fail(self, numbers: Iterable[int], error: BatchError | BrokenError) -> None:
        for number in numbers:
            self._answers[number] = error

    def _fill(self, lane: Lane, members: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
        places, row = [], 0
        for number, items in members:
            for name, array in self._requests[number].items():
                staged = lane.slot.staged[name]
                if self._ring.engine.batched:
                    staged[row : row + items] = array
                else:
                    staged[...] = array
            places.append((number, row, items))
            row += items
        return places

    def answers(self) -> list[Answer]:
        """One answer a request, in order: its outputs, copied, or what went wrong with it. Waits for the device."""
        while self._started:
            self._finish(self._started.popleft())
            self._start_what_can()
        return [answer for answer in self._answers if answer is not None]

    def _finish(self, started: _Started) -> None:
        try:
            outputs = self._ring.finish(started.lane)
            for number, row, items in started.places:
                whole = len(started.places) == 1
                self._answers[number] = {
                    name: (array if whole else array[row : row + items]).copy() for name, array in outputs.items()
                }
        except (BatchError, BrokenError) as error:
            self._fail((number for number, _, _ in started.places), error)
        finally:
            self._ring.give_back(started.lane)


_PATIENCE_S = 30.0  # other threads' batches are done long before


def begin(ring: Ring, requests: Sequence[Mapping[str, Array]]) -> Pending:
    """Packs requests into batches and starts them; `answers` of what it gives waits for them.

    Between the two other requests may begin: that is what the ring is for. Where `ring.free` is 0 this waits until
    another thread's are answered; a single thread answers its own oldest first.
    """
    return Pending(ring, requests)
