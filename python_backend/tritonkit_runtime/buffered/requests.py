"""Requests packed into batches, and their answers out of them; a bad request costs itself alone."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tritonkit_runtime.batch import Array, Joined, Tensors
from tritonkit_runtime.buffered.errors import BatchError, BrokenError, FullError, ShapeError
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.buffered.shapes import Fixed

Answer = Tensors | BatchError | BrokenError | ShapeError


class _Member(NamedTuple):
    """A request of a batch: its number, items, and length along the open axis (0: there is none)."""

    number: int
    items: int
    length: int


class _Place(NamedTuple):
    """Where a request lies in its batch."""

    member: _Member
    row: int


@dataclass
class _Started:
    """A batch under way: its lane, and where each of its requests lies."""

    lane: Lane
    places: list[_Place]


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

    def _packed(self) -> list[list[_Member]]:
        """Batches in the order of their first requests: none larger than the largest bucket, no request in two of
        them, and none of two length buckets, so that a long request makes no other one long.
        """
        batches: list[list[_Member]] = []
        last: dict[int, tuple[list[_Member], int]] = {}  # length bucket -> its last batch, and the room in that
        for number, tensors in enumerate(self._requests):
            try:
                member = self._member(number, tensors)
                bucket = self._ring.bucket(member.length)
            except ShapeError as error:
                self._answers[number] = error
                continue
            batch, room = last.get(bucket, ([], 0))
            if member.items > room or self._alone:
                batch, room = [], self._ring.buckets.largest
                batches.append(batch)
            batch.append(member)
            last[bucket] = batch, room - member.items
        return batches

    def _member(self, number: int, tensors: Mapping[str, Array]) -> _Member:
        """The items and the length of one request, whose tensors are checked; ShapeError."""
        engine = self._ring.engine
        wanted = {tensor.name for tensor in engine.inputs}
        if set(tensors) != wanted:
            given = ", ".join(tensors) or "none"
            raise ShapeError(f"the inputs are {', '.join(sorted(wanted))}; the request has {given}")
        counts = set()
        for tensor in engine.inputs:
            array = tensors[tensor.name]
            if wrong := misfit(tensor, array, engine.batched):
                raise ShapeError(wrong)
            counts.add(len(array) if engine.batched else 1)
        if len(counts) > 1:
            told = ", ".join(f"{tensor.name} has {len(tensors[tensor.name])}" for tensor in engine.inputs)
            raise ShapeError(f"the inputs of a request differ in their number of items: {told}")
        items, length = counts.pop(), length_of(engine.inputs, tensors, engine.batched)
        if self._ring.buckets.of(items) != items and self._alone:
            known = ", ".join(map(str, self._ring.buckets.sizes))
            raise ShapeError(
                f"a batch of {items} items has no bucket of its own, and outputs whose shape depends on the data "
                f"cannot be told from padding; there are {known}"
            )
        return _Member(number, items, length)

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
                self._fail(members, error)
            except (BatchError, BrokenError) as error:
                self._fail(members, error)

    def _start(self, members: Sequence[_Member]) -> None:
        lane = self._ring.take(0.0 if self._started else PATIENCE_S)
        try:
            places = self._fill(lane, members)
            self._ring.start(lane, sum(m.items for m in members), max(m.length for m in members))
        except BaseException:
            self._ring.give_back(lane)
            raise
        self._started.append(_Started(lane, places))

    def _fail(self, members: Iterable[_Member], error: BatchError | BrokenError) -> None:
        for member in members:
            self._answers[member.number] = error

    def _fill(self, lane: Lane, members: Sequence[_Member]) -> list[_Place]:
        engine, staged = self._ring.engine, lane.slot.at[self._ring.bucket(members[0].length)]
        places, row = [], 0
        for member in members:
            tensors = self._requests[member.number]
            for tensor in engine.inputs:
                rows = staged[tensor.name][row : row + member.items] if engine.batched else staged[tensor.name]
                put(tensor, rows, tensors[tensor.name], engine.batched)
            places.append(_Place(member, row))
            row += member.items
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
            for place in started.places:
                whole = len(started.places) == 1
                self._answers[place.member.number] = {
                    name: (array if whole else self._part(name, array, place)).copy()
                    for name, array in outputs.items()
                }
        except (BatchError, BrokenError) as error:
            self._fail((place.member for place in started.places), error)
        finally:
            self._ring.give_back(started.lane)

    def _part(self, name: str, array: Array, place: _Place) -> Array:
        """A request's rows of an output, of its own length."""
        tensor = next(tensor for tensor in self._ring.engine.outputs if tensor.name == name)
        rows = array[place.row : place.row + place.member.items]
        return tensor.cut(rows, place.member.length, batched=True)


PATIENCE_S = 30.0  # other threads' batches are done long before


def misfit(tensor: Fixed, array: Array, batched: bool) -> str:
    """What is wrong with the type or shape of an input, in a sentence; empty if nothing is."""
    item = array.shape[1:] if batched else array.shape
    if array.dtype == tensor.dtype and _fits(item, tensor) and (array.ndim or not batched):
        return ""
    dims = ["any" if axis < 0 else axis for axis in tensor.item]
    shape = ["items", *dims] if batched else dims
    expected = f"{tensor.triton} [{', '.join(map(str, shape))}]"
    return f"input {tensor.name!r} is {array.dtype} {list(array.shape)}, expected {expected}"


def _fits(item: tuple[int, ...], tensor: Fixed) -> bool:
    if not tensor.is_open:
        return item == tensor.item
    return len(item) == len(tensor.item) and all(b in (-1, a) for a, b in zip(item, tensor.item, strict=True))


def length_of(inputs: Sequence[Fixed], tensors: Mapping[str, Array], batched: bool) -> int:
    """The length of the inputs' open axis, in which they must agree; 0 where none has one. ShapeError."""
    found = {t.name: tensors[t.name].shape[t.item.index(-1) + batched] for t in inputs if t.is_open}
    if len(set(found.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in found.items())
        raise ShapeError(f"the inputs of a request differ in their length: {told}")
    return next(iter(found.values()), 0)


def put(tensor: Fixed, staged: Array, array: Array, batched: bool) -> None:
    """Copies a request's tensor into its rows of the staging; behind what is shorter than the bucket come zeros."""
    if staged.shape == array.shape:
        staged[...] = array
        return
    length = array.shape[tensor.item.index(-1) + batched]
    staged[...] = 0
    tensor.cut(staged, length, batched)[...] = array


def begin(ring: Ring, requests: Sequence[Mapping[str, Array]]) -> Pending:
    """Packs requests into batches and starts them; `answers` of what it gives waits for them.

    Between the two other requests may begin: that is what the ring is for. Where `ring.free` is 0 this waits until
    another thread's are answered; a single thread answers its own oldest first.
    """
    return Pending(ring, requests)


def run_joined(ring: Ring, tensors: Mapping[str, Array]) -> Tensors:
    """Requests that are joined, or one, as a batch that is answered or fails whole; the outputs are copies.

    Rows are copied once, from requests to the staging. Only for an engine with a batch axis whose outputs' shapes do
    not depend on the data. ShapeError, BatchError, BrokenError.
    """
    parts, items = parts_of(ring, tensors)
    length = _common_length(parts) if ring.lengths else 0
    size = ring.size(items, length)
    lane = ring.take(PATIENCE_S)
    try:
        staged = lane.slot.at[size.length]
        for tensor, arrays in parts:
            rows = staged[tensor.name][:items]
            if length:
                if length < size.length and tensor.is_open:
                    rows[...] = 0
                rows = tensor.cut(rows, length, batched=True)
            if len(arrays) == 1:
                rows[...] = arrays[0]
            else:
                np.concatenate(arrays, out=rows)
        ring.start(lane, items, length, size=size)
        found = ring.finish(lane)
        for name in found:
            found[name] = found[name].copy()
        return found
    finally:
        ring.give_back(lane)


def parts_of(ring: Ring, tensors: Mapping[str, Array]) -> tuple[list[tuple[Fixed, list[Array]]], int]:
    """Each input with its tensors, request by request, and how many items they have. ShapeError.

    `tensors` are of requests that are joined, or of one.
    """
    if tensors.keys() != ring.names:
        wanted = ", ".join(sorted(ring.names))
        raise ShapeError(f"the inputs are {wanted}; the request has {', '.join(tensors)}")
    batched, parts, items, differ = ring.engine.batched, [], -1, False
    for name, dtype, item, tensor in ring.inputs:
        arrays = tensors.parts(name) if type(tensors) is Joined else [tensors[name]]
        parts.append((tensor, arrays))
        count = 0 if batched else 1
        for array in arrays:
            shape = array.shape
            # As it mostly is; whatever else may fit, and why it does not, is told by `misfit`.
            fits = array.dtype is dtype and shape[batched:] == item and (shape != item or not batched)
            if not fits and (wrong := misfit(tensor, array, batched)):
                raise ShapeError(wrong)
            if batched:
                count += shape[0]
        if items < 0:
            items = count
        elif items != count:
            differ = True
    if differ:
        raise ShapeError("the inputs of the requests differ in their number of items")
    return parts, items


def run_apart(
    ring: Ring, tensors: Mapping[str, Array], counts: Sequence[int], lengths: Sequence[int]
) -> tuple[Tensors, dict[int, BatchError | BrokenError | ShapeError]]:
    """Requests that lie behind each other in `tensors`, padded to the longest of them: each is run in its own length.

    `counts` and `lengths` are of the requests, in order. The outputs are of all of them, with zeros behind what is
    shorter and for a request that failed; why (ShapeError, BatchError, BrokenError) is told by its number. The first
    error is raised if all fail.
    """
    starts = (0, *itertools.accumulate(counts))
    rows = [slice(*ends) for ends in itertools.pairwise(starts)]
    requests = [
        {t.name: t.cut(tensors[t.name][own], length, batched=True) for t in ring.engine.inputs}
        for own, length in zip(rows, lengths, strict=True)
    ]
    answers = begin(ring, requests).answers()
    failed = {number: answer for number, answer in enumerate(answers) if isinstance(answer, Exception)}
    if len(failed) == len(answers):
        raise failed[0]
    found = Tensors()
    for tensor in ring.engine.outputs:
        whole: Array = np.zeros(tensor.shape(starts[-1], True, max(lengths)), tensor.dtype)
        for own, length, answer in zip(rows, lengths, answers, strict=True):
            if not isinstance(answer, Exception):
                tensor.cut(whole[own], length, batched=True)[...] = answer[tensor.name]
        found[tensor.name] = whole
    return found, failed


def _common_length(parts: Sequence[tuple[Fixed, Sequence[Array]]]) -> int:
    """The length of all requests' inputs; ShapeError where they differ, which the server's batcher rules out."""
    found = [tensor for tensor, _ in parts if tensor.is_open]
    if not found:
        return 0
    names = [tensor.name for tensor, _ in parts]
    requests = (dict(zip(names, row, strict=True)) for row in zip(*(arrays for _, arrays in parts), strict=True))
    lengths = {length_of(found, tensors, batched=True) for tensors in requests}
    if len(lengths) > 1:
        raise ShapeError(f"the requests differ in their length: {', '.join(map(str, sorted(lengths)))}")
    return lengths.pop()
