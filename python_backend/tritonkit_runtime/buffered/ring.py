"""A ring of lanes: while one batch computes, the next is copied in and the one before is copied out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

import numpy as np

from tritonkit_runtime.batch import Array, Tensors
from tritonkit_runtime.buffered.buckets import Buckets
from tritonkit_runtime.buffered.engine import BufferedEngine
from tritonkit_runtime.buffered.errors import BatchError, BrokenError, FullError
from tritonkit_runtime.buffered.lane import Lane, Span
from tritonkit_runtime.device import Device
from tritonkit_runtime.device.errors import CudaError
from tritonkit_runtime.device.held import Held
from tritonkit_runtime.parameters import COPIES, Copies, ParameterError

# Up to so many bytes a batch, copies go into its recording: a copy of this size takes about 20 us, no longer than the
# calls that its own stream and events would cost, and the padding that goes along is small. Larger batches are copied
# beside the engine, the items alone without the padding.
INSIDE_BYTES = 1 << 20


class Ring:
    """`slots` lanes around one engine, warm for every bucket. Nothing is allocated after it has been made.

    A batch: `take` a lane, write its items into `lane.slot.staged`, `start` it, `finish` it, read the outputs, and
    `give_back` the lane. Several batches may be under way at once, each in its lane; `start` and `finish` may be
    called in different threads. The host waits for the device once a batch, in `finish`.
    `copies`: `inside` puts them into the CUDA graph of a batch, each lane on a stream of its own: fewest calls, and
    small batches may compute at the same time. `beside` copies on two streams of their own and computes one batch
    after the other. `auto` decides by the size of a batch. `trace` notes when each part ran, in `spans`.
    Raises ParameterError for what the engine cannot run, OutOfMemoryError, and CudaError when the device fails, and
    keeps nothing then.
    """

    def __init__(
        self, device: Device, engine: BufferedEngine, buckets: Sequence[int], *, slots: int = 3,
        copies: Copies = "auto", graphs: bool = True, trace: bool = False,
    ) -> None:  # fmt: skip
        if slots < 2:
            raise ParameterError(f"slots is {slots}; a ring needs at least 2, one to fill while the other computes")
        if not engine.batched and tuple(buckets) != (1,):
            raise ParameterError("a model without a batch axis runs one item at a time: its only bucket is 1")
        self.engine, self.buckets, self._device = engine, Buckets(buckets), device
        inside = _inside(device, engine, self.buckets, copies)
        recorded = graphs and engine.recordable and not device.unified
        self.spans: list[Span] = []
        self.lanes: list[Lane] = []
        self._free: list[Lane] = []
        self._changed = threading.Condition()
        self._starting = threading.Lock()
        self._lost = ""
        self._batches = 0
        self._last: Lane | None = None
        device.use()
        self._held = Held()
        with self._held.or_nothing():
            self._in, self._out = (self._held.handle(device.stream(), device.free_stream) for _ in range(2))
            self._origin = self._held.handle(device.event(), device.free_event)
            for number in range(slots):
                lane = Lane(device, engine, self.buckets.sizes, inside, number, recorded=recorded, traced=trace)
                self._held.add(lane.close)
                self.lanes.append(lane)
            for stream in (self._in, self._out):
                self._held.add(partial(device.wait, stream))
            device.record(self._origin, self._in)
            device.wait(self._in)
        self._free.extend(self.lanes)

    def take(self, patience_s: float = 0.0) -> Lane:
        """A lane that nobody uses; FullError when none is free for so long, BrokenError when nothing runs."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._free or self._lost, patience_s):
                raise FullError(f"all {len(self.lanes)} slots are in use: finish a batch and give its lane back")
            self._check()
            return self._free.pop(0)

    @property
    def free(self) -> int:
        """Lanes that nobody uses."""
        return len(self._free)

    def start(self, lane: Lane, items: int) -> None:
        """Puts the batch in the lane's staging on its way. ShapeError, BatchError, BrokenError."""
        size = self.buckets.of(items)
        with self._starting:
            self._check()
            self._device.use()
            self._batches += 1
            lane.items, lane.size, lane.batch = items, size, self._batches
            try:
                self._start(lane)
            except Exception as error:  # engines raise what they like
                raise self._failed(lane, error) from error

    def _start(self, lane: Lane) -> None:
        device, slot, items, size = self._device, lane.slot, lane.items, lane.size
        slot.wrote(items)
        if size in lane.inside:
            slot.pad_staged(items, size)
            lane.put(size)
            device.record(lane.done, lane.stream)
            return
        lane.copy_in(items, self._in)
        slot.pad_device(items, size, self._in)
        device.record(lane.arrived, self._in)
        device.wait_in(lane.stream, lane.arrived)
        if self._last is not None:
            device.wait_in(lane.stream, self._last.computed)
        lane.put(size)
        device.record(lane.computed, lane.stream)
        self._last = lane
        device.wait_in(self._out, lane.computed)
        lane.copy_out(items, self._out)
        device.record(lane.done, self._out)

    def finish(self, lane: Lane) -> Tensors:
        """The outputs [items, ...] of the batch that was started in the lane, as views of its staging.

        They last until the lane is given back. BatchError when the batch failed; BrokenError when nothing runs.
        """
        self._check()
        self._device.use()
        try:
            self._device.wait_for(lane.done)
            span = lane.span(self._origin)
            shapes = {t.name: lane.session.shape(t.name) for t in self.engine.outputs if t.most_bytes is not None}
        except Exception as error:
            raise self._failed(lane, error) from error
        if span is not None:
            self.spans.append(span)
        return {tensor.name: self._output(lane, tensor.name, shapes) for tensor in self.engine.outputs}

    def _output(self, lane: Lane, name: str, shapes: dict[str, tuple[int, ...]]) -> Array:
        array = lane.slot.staged[name]
        if name not in shapes:
            return array[: lane.items] if self.engine.batched else array
        dtype = next(tensor.dtype for tensor in self.engine.outputs if tensor.name == name)
        size = int(np.prod(shapes[name], dtype=np.int64)) * dtype.itemsize
        return array[:size].view(dtype).reshape(shapes[name])

    def give_back(self, lane: Lane) -> None:
        """The lane is free again, and what it holds may be written over."""
        with self._changed:
            if lane in self._free:
                raise ValueError(f"slot {lane.number} was given back twice")
            self._free.append(lane)
            self._changed.notify()

    def run(self, tensors: Tensors) -> Tensors:
        """One batch from beginning to end, alone; the outputs are copies. ShapeError for tensors that do not fit."""
        from tritonkit_runtime.buffered.requests import begin

        [answer] = begin(self, [tensors]).answers()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _check(self) -> None:
        if self._lost:
            raise BrokenError(self._lost)

    def _failed(self, lane: Lane, error: Exception) -> BatchError | BrokenError:
        """What to tell the batch's requests; finds out whether the device still works."""
        reason: Exception = error
        if not (isinstance(error, CudaError) and error.lasting):
            try:
                for stream in (self._in, lane.stream, self._out):
                    self._device.wait(stream)
            except CudaError as worse:
                reason = worse
            else:
                return BatchError(f"the batch was not run: {error}")
        with self._changed:
            self._lost = (
                f"this instance lost its GPU and answers nothing any more, since what it holds there cannot be "
                f"trusted: {reason}; start it again"
            )
            self._changed.notify_all()
        return BrokenError(self._lost)

    def close(self) -> None:
        """Waits for what is under way and frees everything but the engine; a lost device has nothing to wait for."""
        with self._changed:
            self._lost = self._lost or "the ring is closed"
            self._free.clear()
            self._changed.notify_all()
        self._held.close()
        self.lanes.clear()


def _inside(device: Device, engine: BufferedEngine, buckets: Buckets, copies: str) -> frozenset[int]:
    """The sizes whose copies go into the recording; plain memory has none to place."""
    if copies not in COPIES:
        raise ParameterError(f"copies is {copies!r}; valid are auto, inside and beside")
    if device.unified or copies == "inside":
        return frozenset(buckets.sizes)
    if copies == "beside":
        return frozenset()
    tensors = [*engine.inputs, *engine.outputs]
    return frozenset(size for size in buckets.sizes if sum(t.bytes_of(size) for t in tensors) <= INSIDE_BYTES)
