"""An engine process's scheduler in this process, on the fake device, whose batches end when a test says so."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from fake_device import FakeDevice
from fake_engine import FakeEngine, K, X, Y, array

from tritonkit_runtime.buffered.errors import BatchError
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.loading import Loaded
from tritonkit_runtime.buffered.placing import Placed
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.buffered.shapes import Size
from tritonkit_runtime.engine_process import wire
from tritonkit_runtime.engine_process.memory import Shared, aligned
from tritonkit_runtime.engine_process.serving import Serving

MOST = 8
PATIENCE_S = 60.0


class Locked:
    """The device for several threads. Waiting for a batch waits until a test lets it pass."""

    def __init__(self, device: FakeDevice) -> None:
        self._device, self._lock = device, threading.RLock()
        self.passes = threading.Semaphore(0)
        self.gated = False

    def wait_for(self, event: int, awake_us: float = 0.0) -> None:
        if self.gated:
            assert self.passes.acquire(timeout=PATIENCE_S)
        with self._lock:
            self._device.wait_for(event, awake_us)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._device, name)
        if not callable(found):
            return found

        def called(*arguments: Any, **fields: Any) -> Any:
            with self._lock:
                return found(*arguments, **fields)

        return called


class Kit:
    """A Serving on a fake device, in threads. `runs`: the items of each batch that was started, in order.

    A batch with a `k` that is one of `bad` fails, when it is started or when it is `late`, as it is waited for.
    """

    def __init__(self, buckets: tuple[int, ...] = (1, 2, 4, 8, 16), *, slots: int = 2, batched: bool = True) -> None:
        self.fake = FakeDevice(seed=None)
        self.device = Locked(self.fake)
        device = cast("Any", self.device)
        self.engine = FakeEngine(device, batched=batched)
        self.ring = Ring(device, self.engine, buckets, slots=slots, copies="beside", direct=True, awake=False)
        self.empty = self.fake.held()
        self.runs: list[int] = []
        self.closed = False
        self.bad, self.late = frozenset[int](), False
        start, finish, failing = self.ring.start, self.ring.finish, list[Lane]()

        def noted(lane: Lane, items: int, *rest: Any, placed: Sequence[Placed] = ()) -> None:
            self.runs.append(items)
            if self.bad.intersection(k for part in placed if part.name == K.name for k in rows(part)):
                if self.late:
                    failing.append(lane)
                else:
                    self.fake.fail("launch", 1)
            start(lane, items, *rest, placed=placed)

        def finished(lane: Lane) -> Any:
            found = finish(lane)
            if lane in failing:
                failing.remove(lane)
                raise BatchError("it failed on the way: made up")
            return found

        self.ring.start, self.ring.finish = noted, finished  # type: ignore[method-assign]
        self.serving = Serving(Loaded(device, self.engine, self.ring))
        self.device.gated = True
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind("")  # any address without a file
        self.listener.listen()
        self.lost: str | None = None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        self.lost = self.serving.serve(self.listener, PATIENCE_S)

    def join(self) -> Client:
        """One more instance."""
        return Client(self)

    def pass_batches(self, count: int = 1) -> None:
        """So many batches under way may end."""
        self.device.passes.release(count)

    def ended(self) -> str:
        """What was lost, when it has ended."""
        self._thread.join(PATIENCE_S)
        assert self.lost is not None, "it did not end"
        return self.lost

    def close(self) -> None:
        """Frees what is on the device, which has nothing of members any more."""
        self.pass_batches(1000)
        self.ended()
        self.listener.close()
        if self.serving.last is not None:
            self.serving.last.close()
        assert self.fake.counts["register"] == self.fake.counts["unregister"] or self.fake.lost or self.lost
        if not self.fake.lost:
            self.ring.close()
            self.engine.close()
            if not self.lost:
                assert self.fake.held() == (0, 0, 0, 0)


def rows(part: Placed) -> list[int]:
    """What lies there, of `k`."""
    found: list[int] = array(part.tensor.pointer, K, Size(part.rows), True).tolist()
    return found


class Client:
    """An instance's end of a connection, whose batches are told apart by `k`."""

    def __init__(self, kit: Kit) -> None:
        self.engine = kit.engine
        tensors = (*kit.engine.inputs, *kit.engine.outputs)
        self.sizes = [aligned(tensor.bytes_of(MOST)) for tensor in tensors]
        self.shared = Shared(sum(self.sizes))
        self.offsets = tuple(sum(self.sizes[:place]) for place in range(len(tensors)))
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connection.settimeout(PATIENCE_S)
        self.connection.connect(kit.listener.getsockname())
        wire.send_hello(self.connection, self.shared.descriptor, self.shared.mapped.size_bytes)
        assert wire.receive_words(self.connection) == ""
        self._base = self.shared.mapped.address

    def _tensor(self, place: int, items: int) -> Any:
        tensor = (X, K, Y)[place]
        return array(self._base + self.offsets[place], tensor, Size(items), self.engine.batched)

    def ask(self, items: int, k: int) -> None:
        """A batch of so many items: x is k + 0.5, and so y will be 3 k + 1."""
        self._tensor(0, items)[...] = k + 0.5
        self._tensor(1, items)[...] = k
        self._tensor(2, items)[...] = -1
        self.connection.send(wire.Asked(items, self.offsets).packed())

    def answer(self, items: int) -> np.ndarray[Any, Any] | str:
        """The rows that came, or the words of what went wrong; the words of nothing when it was dropped."""
        try:
            words = wire.receive_words(self.connection)
        except (EOFError, ConnectionResetError):
            return "gone"
        return words or self._tensor(2, items).copy()

    def is_right(self, items: int, k: int) -> bool:
        """Whether the answer is this batch's."""
        found = self.answer(items)
        assert not isinstance(found, str), found
        return bool((found == 3 * k + 1).all())

    def leave(self) -> None:
        """At once, whatever is under way."""
        self.connection.close()
        self.shared.close()


def until(true: Callable[[], bool]) -> None:
    """Waits; AssertionError when it does not become true."""
    done = threading.Event()
    for _ in range(12_000):
        if true():
            return
        done.wait(0.005)
    raise AssertionError("it did not become true")
