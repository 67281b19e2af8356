"""Batches of which some rows lie on the device already, and outputs that stay there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, cast

from tritonkit_runtime.batch import Array, Joined, Tensors
from tritonkit_runtime.buffered.shapes import Fixed
from tritonkit_runtime.buffered.slot import Slot
from tritonkit_runtime.device import Device
from tritonkit_runtime.placed import OnDevice

if TYPE_CHECKING:
    from tritonkit_runtime.buffered.lane import Lane
    from tritonkit_runtime.buffered.ring import Ring


class Placed(NamedTuple):
    """Rows of an input that lie somewhere else than in the staging: where in the batch they begin, and how many.

    In the device's memory, or `on_host`: in memory of the host that the device copies from by itself.
    """

    name: str
    row: int
    rows: int
    tensor: OnDevice
    on_host: bool = False


def put_together(
    device: Device, slot: Slot, tensor: Fixed, rows: int, *, placed: Sequence[Placed], stream: int
) -> None:  # fmt: skip
    """An input's rows into its buffer: those that are `placed` from where they lie, all others from the staging."""
    item_bytes, pointer = tensor.item_bytes(), slot.addresses[tensor.name]

    def from_staging(first: int, end: int) -> None:
        if first < end and not device.unified:
            begin, size = first * item_bytes, (end - first) * item_bytes
            device.copy_in(pointer + begin, slot.hosts[tensor.name] + begin, size, stream)

    done = 0
    for part in placed:
        from_staging(done, part.row)
        copy = device.copy_in if part.on_host else device.copy_within
        copy(pointer + part.row * item_bytes, part.tensor.pointer, part.tensor.nbytes, stream)
        done = part.row + part.rows
    from_staging(done, rows)


def any_placed(tensors: Mapping[str, Array]) -> bool:
    """Whether a tensor of one of the requests lies on the device."""
    if type(tensors) is Joined:
        return any(OnDevice in map(type, tensors.parts(name)) for name in tensors)
    return OnDevice in map(type, tensors.values())


class Lease:
    """Gives a lane back when nobody holds it any more, whoever was the last."""

    def __init__(self, ring: Ring, lane: Lane) -> None:
        self._ring, self._lane = ring, lane

    def __del__(self) -> None:
        self._ring.give_back(self._lane)


def run_placed(ring: Ring, tensors: Mapping[str, Array], patience_s: float) -> Tensors:
    """One batch, of requests that are joined or of one, which is answered or fails whole.

    Inputs may be OnDevice, request by request: their rows go from where they lie into the ring's buffers, and the
    host sees none of them. They must last until this returns. Outputs that the ring keeps are OnDevice: their lane is
    not used again while anybody holds one of them. The others are copies. For an engine whose tensors have no open
    axis and no shape that depends on the data. ShapeError, BatchError, BrokenError.
    """
    from tritonkit_runtime.buffered.requests import parts_of

    batched = ring.engine.batched
    parts, items = parts_of(ring, tensors)
    size = ring.size(items)
    lane = ring.take(patience_s)
    lease = None
    try:
        ring.start(lane, items, placed=_staged(lane, parts, batched), size=size)
        found = ring.finish(lane)
        for name in found:
            found[name] = found[name].copy()
        if ring.kept:
            lease = Lease(ring, lane)
            kept = {name: replace(tensor, owner=lease) for name, tensor in ring.kept_of(lane).items()}
            found |= cast("Tensors", kept)
        return found
    finally:
        if lease is None:
            ring.give_back(lane)


def _staged(
    lane: Lane, parts: Sequence[tuple[Fixed, Sequence[Array]]], batched: bool
) -> list[Placed]:  # fmt: skip
    """Copies the rows that the host has into the staging; gives the others."""
    placed: list[Placed] = []
    for tensor, arrays in parts:
        row, staged = 0, lane.slot.staged[tensor.name]
        for array in arrays:
            rows = len(array) if batched else 1
            if isinstance(array, OnDevice):
                placed.append(Placed(tensor.name, row, rows, array))
            elif batched:
                staged[row : row + rows] = array
            else:
                staged[...] = array
            row += rows
    return placed
