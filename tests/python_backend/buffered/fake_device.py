"""A device whose streams run late and in any order that the events allow, with memory that is watched.

What is put into a stream runs only when the host waits, and which stream goes on is drawn by lot: a wait that the code
forgot gives wrong results for some seed. New and freed memory is poisoned; what is copied must lie within one block.
Without a seed the stream goes on that can do so first, by a clock that counts as a GPU's would: copies in, kernels and
copies out take one thing after the other each, side by side.
"""

from __future__ import annotations

import ctypes
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tritonkit_runtime.device.errors import CudaError

POISON = 0xA5


@dataclass
class Block:
    """Memory, with the bytes that keep it alive."""

    data: ctypes.Array[ctypes.c_char]
    size: int
    pinned: bool


@dataclass
class Operation:
    """Something in a stream. `ready` says whether it may run yet."""

    kind: str  # copy in, kernel, copy out, record, wait
    action: Callable[[float], None]
    ready: Callable[[], bool] = lambda: True
    start_after: Callable[[], float] = lambda: 0.0
    cost_us: float = 0.0
    put_us: float = 0.0  # when the host put it into its stream


@dataclass
class Stream:
    """What is still to be run, when it was done with the last, and what is recorded instead."""

    queue: deque[Operation] = field(default_factory=deque)
    now_us: float = 0.0
    recording: list[Callable[[Stream], None]] | None = None


@dataclass
class Event:
    """How often it was recorded and has passed, and when last."""

    recorded: int = 0
    passed: int = 0
    at_us: float = 0.0


class FakeDevice:
    """A Device. `counts`: calls by name; `live`: blocks that are held. `limit_bytes`: of device memory."""

    unified = False

    def __init__(self, seed: int | None = 0, limit_bytes: int = 1 << 40) -> None:
        self._lot = None if seed is None else random.Random(seed)
        self._limit = limit_bytes
        self.counts: Counter[str] = Counter()
        self.live: dict[int, Block] = {}
        self._dead: list[Block] = []  # stays allocated, so that its poison can be found
        self.streams: dict[int, Stream] = {}
        self.events: dict[int, Event] = {}
        self.graphs: dict[int, list[Callable[[Stream], None]]] = {}
        self._next = 1
        self._busy_us: defaultdict[str, float] = defaultdict(float)
        self.fails: dict[str, deque[int]] = {}
        self.lost = 0
        self.host_us = 0.0
        self.awake_us: list[float] = []  # of each wait for an event

    # What a test asks for ------------------------------------------------------------------------------------------

    def fail(self, name: str, status: int, after: int = 0) -> None:
        """The call `name` fails with CUDA's `status`, after so many that succeed."""
        self.fails[name] = deque([0] * after + [status])

    def kernel(self, stream: int, action: Callable[[], None], cost_us: float = 100.0) -> None:
        """Something that computes, for engines of tests."""
        self._put(stream, "kernel", action, cost_us)

    def held(self) -> tuple[int, int, int, int]:
        """Blocks, streams, events and recordings that are not given back."""
        return len(self.live), len(self.streams), len(self.events), len(self.graphs)

    # Device --------------------------------------------------------------------------------------------------------

    def _called(self, name: str) -> None:
        self.counts[name] += 1
        if self.lost:
            raise CudaError(f"{name} failed with {self.lost}: the context is lost", self.lost)
        if queue := self.fails.get(name):
            self._raise(name, queue.popleft())

    def _raise(self, name: str, status: int) -> None:
        if status:
            error = CudaError(f"{name} failed with {status}: made up", status)
            self.lost = status if error.lasting else 0
            raise error

    def facts(self) -> dict[str, str]:
        return {"gpu": "made up", "compute_capability": "9.0"}

    def use(self) -> None:
        self.counts["use"] += 1

    def memory(self) -> tuple[int, int]:
        held = sum(block.size for block in self.live.values() if not block.pinned)
        return self._limit - held, self._limit

    def _block(self, size: int, pinned: bool) -> int:
        data = ctypes.create_string_buffer(max(1, size))
        ctypes.memset(data, POISON, max(1, size))
        address = ctypes.addressof(data)
        self.live[address] = Block(data, max(1, size), pinned)
        return address

    def allocate(self, size_bytes: int) -> int:
        self._called("allocate")
        if size_bytes > self.memory()[0]:
            self._raise("cuMemAlloc_v2", 2)
        return self._block(size_bytes, pinned=False)

    def pinned(self, size_bytes: int) -> int:
        self._called("pinned")
        return self._block(size_bytes, pinned=True)

    def _drop(self, pointer: int) -> None:
        block = self.live.pop(pointer)
        ctypes.memset(block.data, POISON, block.size)
        self._dead.append(block)

    def free(self, pointer: int) -> None:
        self._called("free")
        self._drop(pointer)

    def free_pinned(self, pointer: int) -> None:
        self._called("free_pinned")
        self._drop(pointer)

    def register(self, host: int, size_bytes: int) -> None:
        self._called("register")
        assert host not in self.live, "memory was registered twice"
        self.live[host] = Block((ctypes.c_char * size_bytes).from_address(host), size_bytes, pinned=True)

    def unregister(self, host: int) -> None:
        self._called("unregister")
        ctypes.string_at(host, 1)  # it is still mapped
        del self.live[host]

    def _within(self, pointer: int, size: int, pinned: bool) -> None:
        inside = [a for a, b in self.live.items() if a <= pointer and pointer + size <= a + b.size]
        assert inside, f"{size} bytes at {pointer} are not within one block"
        assert self.live[inside[0]].pinned == pinned, "host and device memory were mixed up"

    def copy_in(self, pointer: int, host: int, size_bytes: int, stream: int) -> None:
        self._called("copy_in")
        self._copy(pointer, host, size_bytes, stream, "copy in")

    def copy_out(self, host: int, pointer: int, size_bytes: int, stream: int) -> None:
        self._called("copy_out")
        self._copy(host, pointer, size_bytes, stream, "copy out")

    def copy_within(self, pointer: int, source: int, size_bytes: int, stream: int) -> None:
        self._called("copy_within")
        self._copy(pointer, source, size_bytes, stream, "copy within")

    def _copy(self, to: int, source: int, size: int, stream: int, kind: str) -> None:
        def move() -> None:
            self._within(to, size, pinned=kind == "copy out")
            self._within(source, size, pinned=kind == "copy in")
            ctypes.memmove(to, source, size)

        self._put(stream, kind, move, 50.0)

    def zero(self, pointer: int, size_bytes: int, stream: int) -> None:
        self._called("zero")

        def clear() -> None:
            self._within(pointer, size_bytes, pinned=False)
            ctypes.memset(pointer, 0, size_bytes)

        self._put(stream, "kernel", clear, 1.0)

    def _handle(self) -> int:
        self._next += 1
        return self._next

    def stream(self) -> int:
        self._called("stream")
        self.streams[handle := self._handle()] = Stream()
        return handle

    def free_stream(self, stream: int) -> None:
        self._called("free_stream")
        assert not self.streams[stream].queue, "a stream was freed before it was done"
        assert self.streams[stream].recording is None, "a stream was freed while it recorded"
        del self.streams[stream]

    def event(self, timed: bool = True) -> int:
        self._called("event")
        self.events[handle := self._handle()] = Event()
        return handle

    def free_event(self, event: int) -> None:
        self._called("free_event")
        del self.events[event]

    def record(self, event: int, stream: int, outside: bool = False) -> None:
        self._called("record")
        found = self.events[event]

        def put(target: Stream) -> None:
            found.recorded += 1

            def passed(now_us: float) -> None:
                found.passed += 1
                found.at_us = now_us

            self._append(target, Operation("record", passed))

        self._either(stream, put)

    def wait_in(self, stream: int, event: int) -> None:
        self._called("wait_in")
        found = self.events[event]

        def put(target: Stream) -> None:
            wanted = found.recorded
            self._append(
                target, Operation("wait", lambda _: None, lambda: found.passed >= wanted, lambda: found.at_us)
            )

        self._either(stream, put)

    def wait(self, stream: int) -> None:
        self._called("wait")
        self._run(lambda: not self.streams[stream].queue)
        self.host_us = max(self.host_us, self.streams[stream].now_us)

    def wait_for(self, event: int, awake_us: float = 0.0) -> None:
        self._called("wait_for")
        self.awake_us.append(awake_us)
        found = self.events[event]
        wanted = found.recorded
        self._run(lambda: found.passed >= wanted)
        self.host_us = max(self.host_us, found.at_us)

    def between_us(self, start: int, end: int) -> float:
        return self.events[end].at_us - self.events[start].at_us

    def begin_capture(self, stream: int) -> None:
        self._called("begin_capture")
        self.streams[stream].recording = []

    def end_capture(self, stream: int) -> int:
        recording, self.streams[stream].recording = (
            self.streams[stream].recording,
            None,
        )  # over, whether it fails or not
        assert recording is not None
        self._called("end_capture")
        self.graphs[handle := self._handle()] = recording
        return handle

    def launch(self, graph: int, stream: int) -> None:
        self._called("launch")
        for put in self.graphs[graph]:
            put(self.streams[stream])

    def free_graph(self, graph: int) -> None:
        self._called("free_graph")
        del self.graphs[graph]

    # Running -------------------------------------------------------------------------------------------------------

    def _put(self, stream: int, kind: str, action: Callable[[], None], cost_us: float) -> None:
        def put(target: Stream) -> None:
            self._append(target, Operation(kind, lambda _: action(), cost_us=cost_us))

        self._either(stream, put)

    def _append(self, target: Stream, operation: Operation) -> None:
        operation.put_us = self.host_us
        target.queue.append(operation)

    def _either(self, stream: int, put: Callable[[Stream], None]) -> None:
        target = self.streams[stream]
        if target.recording is None:
            put(target)
        else:
            target.recording.append(put)

    def _run(self, done: Callable[[], bool]) -> None:
        while not done():
            able = [stream for stream in self.streams.values() if stream.queue and stream.queue[0].ready()]
            assert able, "the streams wait for each other"
            self._step(self._lot.choice(able) if self._lot else min(able, key=self._starts_us))
            if self.lost:
                raise CudaError(f"a kernel failed with {self.lost}", self.lost)

    def _starts_us(self, stream: Stream) -> float:
        operation = stream.queue[0]
        start_us = max(stream.now_us, operation.put_us, operation.start_after())
        return max(start_us, self._busy_us[operation.kind]) if operation.cost_us else start_us

    def _step(self, stream: Stream) -> None:
        start_us, operation = self._starts_us(stream), stream.queue.popleft()
        if operation.cost_us:
            self._busy_us[operation.kind] = start_us + operation.cost_us
        stream.now_us = start_us + operation.cost_us
        try:
            operation.action(stream.now_us)
        except CudaError as error:
            self.lost = error.status
            raise
