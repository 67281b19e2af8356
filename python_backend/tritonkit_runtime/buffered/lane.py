"""A slot with what runs it: its session, its stream, a recording for every bucket, and the events between streams."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from tritonkit_runtime.buffered.engine import BufferedEngine, Session
from tritonkit_runtime.buffered.errors import BatchError
from tritonkit_runtime.buffered.slot import Slot
from tritonkit_runtime.device import Device
from tritonkit_runtime.device.errors import OUT_OF_MEMORY, CudaError
from tritonkit_runtime.device.held import Held
from tritonkit_runtime.parameters import ParameterError


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

    `inside`: sizes of batch whose recording holds the copies too. `traced`: whether times are noted. Whatever an
    engine, a driver or the memory refuses while it is made ready is raised, and nothing is kept then.
    """

    def __init__(
        self, device: Device, engine: BufferedEngine, sizes: tuple[int, ...], inside: frozenset[int], number: int,
        *, recorded: bool, traced: bool,
    ) -> None:  # fmt: skip
        self._device, self._engine, self.number = device, engine, number
        self.inside = inside
        self._held = Held()
        self._graphs: dict[int, int] = {}
        self._marks: Marks | None = None
        self.items = self.size = self.batch = 0
        with self._held.or_nothing():
            self.stream = self._held.handle(device.stream(), device.free_stream)
            self.arrived, self.computed, self.done = (
                self._held.handle(device.event(timed=False), device.free_event) for _ in range(3)
            )
            if traced:
                self._marks = Marks(device)
                self._held.add(self._marks.close)
            self.slot = Slot(device, engine, sizes[-1], number)
            self._held.add(self.slot.close)
            self.session: Session = engine.session(self.stream)
            self._held.add(self.session.close)
            self._held.add(lambda: device.wait(self.stream))  # before anything is freed that it may still use
            self.slot.zero(self.stream)
            for size in reversed(sizes):  # the largest first: what an engine allocates for it serves the others
                self._ready(size, recorded)

    def _ready(self, size: int, recorded: bool) -> None:
        device = self._device
        try:
            self.session.warm(size, self.slot.addresses, self.stream)
        except BatchError as error:
            raise ParameterError(f"{self._engine.about} cannot run a batch of {size}: {error}") from error
        device.wait(self.stream)
        if not recorded:
            return
        try:
            self._graphs[size] = self._held.handle(self._recording(size), device.free_graph)
        except (BatchError, CudaError) as error:
            if isinstance(error, CudaError) and (error.lasting or error.status == OUT_OF_MEMORY):
                raise
            raise ParameterError(
                f"a batch of {size} of {self._engine.about} cannot be recorded as a CUDA graph: {error}; "
                "run it without graphs"
            ) from error
        device.launch(self._graphs[size], self.stream)
        device.wait(self.stream)

    def _recording(self, size: int) -> int:
        self._device.begin_capture(self.stream)
        try:
            self._put(size, outside=True)
        except BaseException:
            with suppress(CudaError):  # a stream must not be left recording
                self._device.free_graph(self._device.end_capture(self.stream))
            raise
        return self._device.end_capture(self.stream)

    def _put(self, size: int, outside: bool = False) -> None:
        """Everything of a batch that belongs to this lane's own stream."""
        if size not in self.inside:
            self._compute(size, outside)
            return
        self.copy_in(size, self.stream, outside)
        self._compute(size, outside)
        self.copy_out(size, self.stream, outside)

    def _compute(self, size: int, outside: bool) -> None:
        self._mark(2, self.stream, outside)
        self.session.run(size, self.stream)
        self._mark(3, self.stream, outside)

    def put(self, size: int) -> None:
        """A batch into the lane's stream: by its recording, where there is one."""
        graph = self._graphs.get(size)
        if graph is None:
            self._put(size)
        else:
            self._device.launch(graph, self.stream)

    def copy_in(self, rows: int, stream: int, outside: bool = False) -> None:
        """Rows of the staging to the device."""
        self._mark(0, stream, outside)
        if not self._device.unified:
            for tensor in self._engine.inputs:
                name, size = tensor.name, tensor.bytes_of(rows)
                self._device.copy_in(self.slot.addresses[name], self.slot.hosts[name], size, stream)
        self._mark(1, stream, outside)

    def copy_out(self, rows: int, stream: int, outside: bool = False) -> None:
        """Rows of the outputs to the staging."""
        self._mark(4, stream, outside)
        if not self._device.unified:
            for tensor in self._engine.outputs:
                name, size = tensor.name, tensor.bytes_of(rows)
                self._device.copy_out(self.slot.hosts[name], self.slot.addresses[name], size, stream)
        self._mark(5, stream, outside)

    def _mark(self, index: int, stream: int, outside: bool) -> None:
        if self._marks is not None:
            self._device.record(self._marks.events[index], stream, outside)

    def span(self, origin: int) -> Span | None:
        """When the batch that has just been waited for ran; None without a trace."""
        if self._marks is None:
            return None
        return self._marks.span(origin, self.batch, self.number, self.items)

    def close(self) -> None:
        """Waits for what is under way and frees everything."""
        self._graphs.clear()
        self._held.close()
