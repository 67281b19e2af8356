"""A ring of lanes: while one batch computes, the next is copied in and the one before is copied out."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Collection, Sequence
from functools import partial

import numpy as np

from tritonkit_runtime.batch import Array, Tensors
from tritonkit_runtime.buffered.buckets import Buckets
from tritonkit_runtime.buffered.engine import BufferedEngine
from tritonkit_runtime.buffered.errors import BatchError, BrokenError, FullError
from tritonkit_runtime.buffered.feed import Feeder
from tritonkit_runtime.buffered.lane import Lane, Span
from tritonkit_runtime.buffered.placing import Placed
from tritonkit_runtime.buffered.shapes import Fixed, Size, sizes_of
from tritonkit_runtime.device import Device
from tritonkit_runtime.device.errors import CudaError
from tritonkit_runtime.device.held import Held
from tritonkit_runtime.parameters import COPIES, Copies, ParameterError
from tritonkit_runtime.placed import OnDevice

# Up to so many bytes a batch, copies go into its recording: a copy of this size takes about 20 us, no longer than the
# calls that its own stream and events would cost, and the padding that goes along is small. Larger batches are copied
# beside the engine, the items alone without the padding.
INSIDE_BYTES = 1 << 20


class Ring:
    """`slots` lanes around one engine, warm for every bucket. Nothing is allocated after it has been made.

    Of an engine whose tensors have an open axis (-1) `lengths` are buckets of a second kind: a batch is padded to the
    next of both, and every pair of them is made ready, in memory for the largest pair alone.

    A batch: `take` a lane, write its items into `lane.slot.staged` (with lengths: `lane.slot.at` of the bucket, and
    zeros behind what is shorter), `start` it, `finish` it, read the outputs, and `give_back` the lane. Several may be
    under way at once, each in its lane; `start` and `finish` may be called in different threads. The host waits for
    the device once a batch, in `finish`.
    `copies`: `inside` puts them into the CUDA graph of a batch, each lane on a stream of its own: fewest calls, and
    small batches may compute at the same time. `beside` copies on two streams of their own and computes one batch
    after the other. `auto` decides by the size of a batch. `trace` notes when each part ran, in `spans`.
    A `feeder` fills one of the inputs on the device; it is closed after the ring, by who made it. `direct`: rows may
    come from the device's own memory. The outputs `kept` stay there, and their lane must not be given back before
    nobody reads them any more. `awake`: whether short batches are waited for without sleeping, which holds up the
    process's other threads.
    Raises ParameterError for what the engine cannot run, OutOfMemoryError, and CudaError when the device fails, and
    keeps nothing then.
    """

    def __init__(
        self, device: Device, engine: BufferedEngine, buckets: Sequence[int], *, slots: int = 3,
        copies: Copies = "auto", graphs: bool = True, trace: bool = False, feeder: Feeder | None = None,
        lengths: Sequence[int] = (), direct: bool = False, kept: Collection[str] = (), awake: bool = True,
    ) -> None:  # fmt: skip
        if slots < 2:
            raise ParameterError(f"slots is {slots}; a ring needs at least 2, one to fill while the other computes")
        if not engine.batched and tuple(buckets) != (1,):
            raise ParameterError("a model without a batch axis runs one item at a time: its only bucket is 1")
        self.engine, self.buckets, self._device = engine, Buckets(buckets), device
        self.lengths = Buckets(lengths, "lengths") if lengths else None
        sizes = sizes_of(self.buckets.sizes, self.lengths.sizes if self.lengths else ())
        _check_lengths(engine, lengths, feeder)
        # What is asked for with every batch is found once.
        self._sizes, self._most_items = sizes, self.buckets.largest
        self.names = frozenset(tensor.name for tensor in engine.inputs)
        self.inputs = tuple((tensor.name, tensor.dtype, tensor.item, tensor) for tensor in engine.inputs)
        self.kept = frozenset(() if device.unified else kept)
        # What comes back to the host, and how: the rows of a batch, or (not None) what it takes more than that.
        self._returned = tuple(
            (tensor.name, tensor if tensor.is_open or tensor.most_bytes is not None else None)
            for tensor in engine.outputs if tensor.name not in self.kept
        )  # fmt: skip
        self._shaped = tuple(tensor.name for tensor in engine.outputs if tensor.most_bytes is not None)
        inside = _inside(device, engine, sizes, copies, None if feeder is None else feeder.input)
        recorded = graphs and engine.recordable and not device.unified
        self.spans: list[Span] = []
        self.lanes: list[Lane] = []
        self._free: list[Lane] = []
        # A lane may be given back by whoever lets go of its outputs, in the middle of a call of the same thread.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting = 0
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
                lane = Lane(
                    device, engine, sizes, inside, number, recorded=recorded, traced=trace, feeder=feeder,
                    direct=direct, kept=self.kept, awake=awake,
                )  # fmt: skip
                self._held.add(lane.close)
                self.lanes.append(lane)
            for stream in (self._in, self._out):
                self._held.add(partial(device.wait, stream))
            device.record(self._origin, self._in)
            device.wait(self._in)
        self._free.extend(self.lanes)

    def take(self, patience_s: float = 0.0) -> Lane:
        """A lane that nobody uses; FullError when none is free for so long, BrokenError when nothing runs."""
        with self._lock:
            if not self._free and not self._lost:
                self._wait(patience_s)
            if self._lost:
                raise BrokenError(self._lost)
            return self._free.pop(0)

    def _wait(self, patience_s: float) -> None:
        """Until there is a lane, or nothing runs; FullError."""
        self._waiting += 1
        try:
            if not self._changed.wait_for(lambda: self._free or self._lost, patience_s):
                raise FullError(f"all {len(self.lanes)} slots are in use: finish a batch and give its lane back")
        finally:
            self._waiting -= 1

    @property
    def free(self) -> int:
        """Lanes that nobody uses."""
        return len(self._free)

    def bucket(self, length: int) -> int:
        """What a batch of `length` is padded to, 0 without an open axis; ShapeError where no bucket is so great."""
        return self.lengths.of(length) if self.lengths else 0

    def size(self, items: int, length: int = 0) -> Size:
        """What a batch of so many items of this length is padded to; ShapeError where nothing is so large."""
        if self.lengths is None and 0 < items <= self._most_items:
            return self._sizes[bisect_left(self.buckets.sizes, items)]
        return Size(self.buckets.of(items), self.bucket(length))

    def start(
        self, lane: Lane, items: int, length: int = 0, placed: Sequence[Placed] = (), *, size: Size | None = None
    ) -> None:  # fmt: skip
        """Puts the batch in the lane's staging on its way. ShapeError, BatchError, BrokenError.

        `placed`: rows that are not in the staging but in the device's memory, those of a tensor in order. What wrote
        them is done, and they stay as they are until the batch has been finished or has failed. `size`: what `size`
        says of this batch, where it has been asked.
        """
        if size is None:
            size = self.size(items, length)
        with self._starting:
            if self._lost:
                raise BrokenError(self._lost)
            self._device.use()
            self._batches += 1
            lane.items, lane.size, lane.length, lane.batch = items, size, length, self._batches
            try:
                self._start(lane, placed)
            except Exception as error:  # engines raise what they like
                raise self._failed(lane, error) from error

    def _start(self, lane: Lane, placed: Sequence[Placed]) -> None:
        device, slot, items, size, fed = self._device, lane.slot, lane.items, lane.size, lane.fed
        slot.wrote(items, size.length)
        if size in lane.inside and not placed:
            if items < size.items:
                slot.pad_staged(items, size)
            if fed is not None:
                fed.copy_in(lane.stream)
                fed.put(size.items, lane.stream)
            lane.put(size, inside=True)
            device.record(lane.done, lane.stream)
            return
        rows = Size(items, size.length)
        if placed:
            lane.gather(items, placed, self._in)
        else:
            lane.copy_in(rows, self._in)
        if fed is not None:
            fed.copy_in(self._in)
        slot.pad_device(items, size, self._in)
        device.record(lane.arrived, self._in)
        device.wait_in(lane.stream, lane.arrived)
        if fed is not None:  # beside the engine's computing of the batch before
            fed.put(size.items, lane.stream)
        if self._last is not None:
            device.wait_in(lane.stream, self._last.computed)
        lane.put(size, inside=False)
        device.record(lane.computed, lane.stream)
        self._last = lane
        device.wait_in(self._out, lane.computed)
        lane.copy_out(rows, self._out)
        device.record(lane.done, self._out)

    def finish(self, lane: Lane) -> Tensors:
        """The outputs [items, ...] of the batch that was started in the lane, as views of its staging, of its length.

        They last until the lane is given back. Those that are kept are told by `kept_of`. BatchError when the batch
        failed; BrokenError when nothing runs.
        """
        if self._lost:
            raise BrokenError(self._lost)
        self._device.use()
        shapes: dict[str, tuple[int, ...]] = {}
        try:
            lane.wait()
            if lane.traced:
                self.spans.append(lane.span(self._origin))
            for name in self._shaped:
                shapes[name] = lane.session.shape(name)
        except Exception as error:
            raise self._failed(lane, error) from error
        arrays, batched = lane.slot.at[lane.size.length], self.engine.batched
        found: Tensors = {}
        for name, other in self._returned:
            rows = arrays[name]
            if other is not None:
                found[name] = self._output(lane, other, rows, shapes.get(name))
            else:
                found[name] = rows[: lane.items] if batched else rows
        return found

    def kept_of(self, lane: Lane) -> dict[str, OnDevice]:
        """The outputs that stay on the device, of the batch that was finished in the lane."""
        found = [tensor for tensor in self.engine.outputs if tensor.name in self.kept]
        shapes = {tensor.name: tensor.shape(lane.items, self.engine.batched) for tensor in found}
        return {t.name: OnDevice(lane.slot.addresses[t.name], shapes[t.name], t.dtype, lane) for t in found}

    def _output(self, lane: Lane, tensor: Fixed, array: Array, shape: tuple[int, ...] | None) -> Array:
        """An output of a length of its own, or of the shape that its data gave it."""
        if shape is None:
            rows = array[: lane.items] if self.engine.batched else array
            return tensor.cut(rows, lane.length, self.engine.batched)
        size = int(np.prod(shape, dtype=np.int64)) * tensor.dtype.itemsize
        return array[:size].view(tensor.dtype).reshape(shape)

    def give_back(self, lane: Lane) -> None:
        """The lane is free again, and what it holds may be written over."""
        with self._lock:
            if lane in self._free:
                raise ValueError(f"slot {lane.number} was given back twice")
            self._free.append(lane)
            if self._waiting:
                self._changed.notify()

    def run(self, tensors: Tensors) -> Tensors:
        """One batch from beginning to end, alone; the outputs are copies. ShapeError for tensors that do not fit."""
        from tritonkit_runtime.buffered.requests import begin

        [answer] = begin(self, [tensors]).answers()
        if isinstance(answer, Exception):
            raise answer
        return answer

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


def _check_lengths(engine: BufferedEngine, lengths: Sequence[int], feeder: Feeder | None) -> None:
    """ParameterError unless there are lengths exactly where tensors have an open axis, and inputs to tell them by."""
    if lengths and feeder is not None:
        raise ParameterError(f"{feeder.input} is made on the GPU, where inputs have one size: leave out `lengths`")
    found = [tensor for tensor in (*engine.inputs, *engine.outputs) if tensor.is_open]
    if found and not lengths:
        raise ParameterError(f"{found[0].name} has an axis of any length (-1), and there are no `lengths` for it")
    if lengths and not any(tensor.is_open for tensor in engine.inputs):
        raise ParameterError("there are `lengths`, and no input has an axis of any length (-1) for them")


def _inside(
    device: Device, engine: BufferedEngine, sizes: Sequence[Size], copies: str, fed: str | None = None
) -> frozenset[Size]:
    """The sizes whose copies go into the recording; plain memory has none to place, the input `fed` has none."""
    if copies not in COPIES:
        raise ParameterError(f"copies is {copies!r}; valid are auto, inside and beside")
    if device.unified or copies == "inside":
        return frozenset(sizes)
    if copies == "beside":
        return frozenset()
    tensors = [tensor for tensor in (*engine.inputs, *engine.outputs) if tensor.name != fed]
    return frozenset(size for size in sizes if sum(t.bytes_of(*size) for t in tensors) <= INSIDE_BYTES)
