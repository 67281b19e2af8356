"""A slot with what runs it: its session, its stream, a recording for every bucket, and the events between streams."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from tritonkit_runtime.buffered.engine import BufferedEngine, Session
from tritonkit_runtime.buffered.errors import BatchError
from tritonkit_runtime.buffered.feed import Fed, Feeder
from tritonkit_runtime.buffered.placing import Placed, put_together
from tritonkit_runtime.buffered.shapes import Size
from tritonkit_runtime.buffered.slot import Slot
from tritonkit_runtime.device import Device
from tritonkit_runtime.device.errors import OUT_OF_MEMORY, CudaError
from tritonkit_runtime.device.held import Held
from tritonkit_runtime.parameters import ParameterError

# Waking up takes 20 to 50 us. A batch that runs for no longer than this is waited for awake, which costs a core so
# long; of longer ones that is little, and the front end and other instances have the core meanwhile.
SHORT_US = 1000.0


class Span(NamedTuple):
    """When one batch was copied in, computed and copied out: microseconds since the ring was made, start and end."""

    batch: int
    slot: int
    items: int
    copy_in_us: tuple[float, float]
    compute_us: tuple[float, float]
    copy_out_us: tuple[float, float]


class Marks:
    """Timed events at the ends of a batch's three parts, for a trace."""

    def __init__(self, device: Device) -> None:
        self._device, self._held = device, Held()
        with self._held.or_nothing():
            self.events = [self._held.handle(device.event(), device.free_event) for _ in range(6)]

    def span(self, origin: int, batch: int, slot: int, items: int) -> Span:
        """The batch that has just been waited for; `origin` is the event that times are counted from."""
        times = [self._device.between_us(origin, event) for event in self.events]
        return Span(batch, slot, items, (times[0], times[1]), (times[2], times[3]), (times[4], times[5]))

    def close(self) -> None:
        """Gives the events back."""
        self._held.close()


class Lane:
    """One of a ring's lanes. Every lane has a session of its own, so that no two batches share an engine's memory.

    `inside`: sizes of batch whose recording holds the copies too. `traced`: whether times are noted. `fed` is the
    lane's part of a feeder, whose copy and kernel are in no recording. `direct`: whether rows may come from the
    device's memory, for which the engine is recorded without copies too. The outputs `kept` stay there. `awake`:
    whether a short batch is waited for without sleeping. Whatever an engine, a driver or the memory refuses while it
    is made ready is raised, and nothing is kept then.
    """

    def __init__(
        self, device: Device, engine: BufferedEngine, sizes: tuple[Size, ...], inside: frozenset[Size], number: int,
        *, recorded: bool, traced: bool, feeder: Feeder | None = None, direct: bool = False,
        kept: frozenset[str] = frozenset(), awake: bool = True,
    ) -> None:  # fmt: skip
        self._device, self._engine, self.number, self._awake = device, engine, number, awake
        self.fed: Fed | None = None
        self.inside, self._direct, self.traced = inside, direct, traced
        self._held = Held()
        self._graphs: dict[tuple[Size, bool], int] = {}  # by the size of a batch, and whether its copies are inside
        self._least_us: dict[Size, float] = {}  # that a batch of this size took: others had to wait for the device
        self._put_at = 0.0
        self._marks: Marks | None = None
        self.items = self.batch = self.length = 0  # `length` is the batch's own, which is padded to that of `size`
        self.size = sizes[-1]
        with self._held.or_nothing():
            self.stream = self._held.handle(device.stream(), device.free_stream)
            self.arrived, self.computed, self.done = (
                self._held.handle(device.event(timed=False), device.free_event) for _ in range(3)
            )
            if traced:
                self._marks = Marks(device)
                self._held.add(self._marks.close)
            self.slot = Slot(device, engine, sizes, number, fed=feeder.input if feeder else None, kept=kept)
            self._held.add(self.slot.close)
            if feeder is not None:
                self.fed = feeder.lane(self.slot.addresses[feeder.input], sizes[-1].items, number)
                self._held.add(self.fed.close)
            self.session: Session = engine.session(self.stream)
            self._held.add(self.session.close)
            self._held.add(lambda: device.wait(self.stream))  # before anything is freed that it may still use
            self.slot.zero(self.stream)
            if self.fed is not None:  # for the first time, without anything to make something of
                self.fed.copy_in(self.stream)
                self.fed.put(sizes[-1].items, self.stream)
            for size in reversed(sizes):  # the largest first: what an engine allocates for it serves the others
                self._ready(size, recorded)

    def _ready(self, size: Size, recorded: bool) -> None:
        device = self._device
        try:
            self.session.warm(size, self.slot.addresses, self.stream)
        except BatchError as error:
            raise ParameterError(f"{self._engine.about} cannot run a batch of {size}: {error}") from error
        device.wait(self.stream)
        if recorded:
            self._record(size, size in self.inside)
        if recorded and self._direct and size in self.inside:
            self._record(size, inside=False)

    def _record(self, size: Size, inside: bool) -> None:
        device = self._device
        try:
            graph = self._graphs[size, inside] = self._held.handle(self._recording(size, inside), device.free_graph)
        except (BatchError, CudaError) as error:
            if isinstance(error, CudaError) and (error.lasting or error.status == OUT_OF_MEMORY):
                raise
            raise ParameterError(
                f"a batch of {size} of {self._engine.about} cannot be recorded as a CUDA graph: {error}; "
                "run it without graphs"
            ) from error
        device.launch(graph, self.stream)
        device.wait(self.stream)

    def _recording(self, size: Size, inside: bool) -> int:
        self._device.begin_capture(self.stream)
        try:
            self._put(size, inside, outside=True)
        except BaseException:
            with suppress(CudaError):  # a stream must not be left recording
                self._device.free_graph(self._device.end_capture(self.stream))
            raise
        return self._device.end_capture(self.stream)

    def _put(self, size: Size, inside: bool, outside: bool = False) -> None:
        """Everything of a batch that belongs to this lane's own stream."""
        if not inside:
            self._compute(size, outside)
            return
        self.copy_in(size, self.stream, outside)
        self._compute(size, outside)
        self.copy_out(size, self.stream, outside)

    def _compute(self, size: Size, outside: bool) -> None:
        self._mark(2, self.stream, outside)
        self.session.run(size, self.stream)
        self._mark(3, self.stream, outside)

    def wait(self) -> None:
        """The host waits for the batch under way: awake where one of its size was ever short, asleep for others."""
        least_us = self._least_us.get(self.size, math.inf)
        self._device.wait_for(self.done, 2 * least_us if self._awake and least_us <= SHORT_US else 0.0)
        took_us = (time.perf_counter() - self._put_at) * 1e6
        if took_us < least_us:
            self._least_us[self.size] = took_us

    def put(self, size: Size, inside: bool) -> None:
        """A batch into the lane's stream, with its copies or without: by its recording, where there is one."""
        self._put_at = time.perf_counter()
        graph = self._graphs.get((size, inside))
        if graph is None:
            self._put(size, inside)
        else:
            self._device.launch(graph, self.stream)

    def copy_in(self, rows: Size, stream: int, outside: bool = False) -> None:
        """So many rows of the staging to the device."""
        self._mark(0, stream, outside)
        if not self._device.unified:
            for tensor in self.slot.copied:
                name, size = tensor.name, tensor.bytes_of(*rows)
                self._device.copy_in(self.slot.addresses[name], self.slot.hosts[name], size, stream)
        self._mark(1, stream, outside)

    def gather(self, rows: int, placed: Sequence[Placed], stream: int) -> None:
        """The same where some rows lie on the device already: those are copied there, the others from the staging."""
        self._mark(0, stream, outside=False)
        for tensor in self.slot.copied:
            own = [part for part in placed if part.name == tensor.name]
            put_together(self._device, self.slot, tensor, rows, placed=own, stream=stream)
        self._mark(1, stream, outside=False)

    def copy_out(self, rows: Size, stream: int, outside: bool = False) -> None:
        """So many rows of the outputs to the staging."""
        self._mark(4, stream, outside)
        if not self._device.unified:
            for tensor in self.slot.returned:
                name, size = tensor.name, tensor.bytes_of(*rows)
                self._device.copy_out(self.slot.hosts[name], self.slot.addresses[name], size, stream)
        self._mark(5, stream, outside)

    def _mark(self, index: int, stream: int, outside: bool) -> None:
        if self._marks is not None:
            self._device.record(self._marks.events[index], stream, outside)

    def span(self, origin: int) -> Span:
        """When the batch that has just been waited for ran, where times are noted."""
        if self._marks is None:
            raise ValueError("no times are noted")
        return self._marks.span(origin, self.batch, self.number, self.items)

    def close(self) -> None:
        """Waits for what is under way and frees everything."""
        self._graphs.clear()
        self._held.close()
