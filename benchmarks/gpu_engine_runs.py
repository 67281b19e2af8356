"""The ways to run a batch that gpu_engine.py compares, and how they are timed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import median, rounds

from tritonkit_runtime.batch import Array
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.requests import Pending, begin
from tritonkit_runtime.buffered.ring import Copies, Ring
from tritonkit_runtime.buffered.shapes import Size, sizes_of
from tritonkit_runtime.buffered.tensorrt import TensorRT
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.device.errors import CudaError
from tritonkit_runtime.parameters import ParameterError, TensorSpec

SEED, SLOTS, MOST_ROUNDS = 1, 4, 9
WAYS: tuple[Copies, ...] = ("beside", "inside")
Way = Callable[[int, int], None]  # (size of batch, batches): runs so many


class Bench:
    """The plan on the GPU with all that is compared: two rings, and two lanes that are driven by hand.

    `plain` copies in, runs and copies out in one stream without a recording; `alone` launches a recording that holds
    the engine and no copies.
    """

    def __init__(
        self, device: Cuda, path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec],
        sizes: tuple[int, ...],
    ) -> None:  # fmt: skip
        self.device, self.path, self.sizes = device, path, sizes
        started, free = time.perf_counter(), device.memory()[0]
        self.engine = TensorRT(device, path, inputs, outputs, sizes)
        self.loading: dict[str, Any] = {"engine_s": time.perf_counter() - started}
        self.loading["engine_bytes"] = free - device.memory()[0]
        self.rings: dict[str, Ring] = {}
        for copies in WAYS:
            started, free = time.perf_counter(), device.memory()[0]
            try:
                self.rings[copies] = self.ring(copies, SLOTS)
            except (ParameterError, CudaError) as error:  # the other way may work
                self.loading[f"ring_{copies}_failed"] = f"{type(error).__name__}: {error}"
            self.loading[f"ring_{copies}_s"] = time.perf_counter() - started
            self.loading[f"ring_{copies}_bytes"] = free - device.memory()[0]
        of_lanes = sizes_of(sizes, ())
        self.plain = Lane(device, self.engine, of_lanes, frozenset(of_lanes), 90, recorded=False, traced=False)
        self.alone = [
            Lane(device, self.engine, of_lanes, frozenset(), 91 + number, recorded=True, traced=False)
            for number in range(2)
        ]
        self.done = device.event(timed=False)
        self._pool = self._random(2 * sizes[-1])
        self.items = self.batch(sizes[-1])
        for lane in (self.plain, *self.alone, *(lane for ring in self.rings.values() for lane in ring.lanes)):
            for name, array in self.items.items():
                lane.slot.staged[name][...] = array

    def ring(self, copies: Copies, slots: int, sizes: tuple[int, ...] | None = None, trace: bool = False) -> Ring:
        """Another ring around the engine."""
        return Ring(self.device, self.engine, sizes or self.sizes, slots=slots, copies=copies, trace=trace)

    def batch(self, size: int, first: int = 0) -> dict[str, Array]:
        """So many random items of every input; `first` says which."""
        first %= self.sizes[-1]
        return {name: array[first : first + size] for name, array in self._pool.items()}

    def _random(self, size: int) -> dict[str, Array]:
        lot = np.random.default_rng(SEED)
        found: dict[str, Array] = {}
        for tensor in self.engine.inputs:
            shape = tensor.shape(size, batched=True)
            if tensor.dtype.kind == "f":
                found[tensor.name] = lot.standard_normal(shape, np.float32).astype(tensor.dtype)
            else:
                found[tensor.name] = lot.integers(0, 100, shape).astype(tensor.dtype)
        return found

    # The ways ---------------------------------------------------------------------------------------------------

    def run_plain(self, size: int, batches: int) -> None:
        """Copy in, run, copy out, wait: one batch after the other."""
        for _ in range(batches):
            self.plain.put(Size(size), inside=True)
            self.device.wait(self.plain.stream)

    def run_alone(self, size: int, batches: int) -> None:
        """The engine without copies, the host never in its way: two launches are always queued in one stream."""
        lane, waiting = self.alone[0], deque[int]()
        events = [self.alone[number].done for number in range(2)]
        for number in range(batches):
            if len(waiting) == len(events):
                self.device.wait_for(waiting.popleft())
            lane.put(Size(size), inside=False)
            event = events[number % len(events)]
            self.device.record(event, lane.stream)
            waiting.append(event)
        self.device.wait(lane.stream)

    def run_alone_twice(self, size: int, batches: int) -> None:
        """The engine without copies in two streams side by side."""
        under_way = deque[Lane]()
        for number in range(batches):
            if len(under_way) == 2:
                self.device.wait_for(under_way.popleft().done)
            lane = self.alone[number % 2]
            lane.put(Size(size), inside=False)
            self.device.record(lane.done, lane.stream)
            under_way.append(lane)
        for lane in under_way:
            self.device.wait(lane.stream)

    def run_alone_one(self, size: int, batches: int) -> None:
        """The engine without copies, one at a time."""
        for _ in range(batches):
            self.alone[0].put(Size(size), inside=False)
            self.device.wait(self.alone[0].stream)

    def run_ring(self, copies: str, in_flight: int) -> Way:
        """The ring, with what is in its staging."""
        ring = self.rings[copies]

        def way(size: int, batches: int) -> None:
            under_way = deque[Lane]()
            for _ in range(batches):
                if len(under_way) == in_flight:
                    self._end(ring, under_way.popleft())
                lane = ring.take()
                ring.start(lane, size)
                under_way.append(lane)
            while under_way:
                self._end(ring, under_way.popleft())

        return way

    def _end(self, ring: Ring, lane: Lane) -> None:
        ring.finish(lane)
        ring.give_back(lane)

    def run_requests(self, copies: str, in_flight: int) -> Way:
        """The ring with one request a batch: copied into the staging and its answer out of it by the host."""
        ring = self.rings[copies]

        def way(size: int, batches: int) -> None:
            request = {name: array[:size] for name, array in self.items.items()}
            under_way = deque[Pending]()
            for _ in range(batches):
                if len(under_way) == in_flight:
                    under_way.popleft().answers()
                under_way.append(begin(ring, [request]))
            while under_way:
                under_way.popleft().answers()

        return way


def timed(ways: dict[str, Way], sizes: Sequence[int], slice_s: float,
          left_s: Callable[[], float]) -> dict[str, dict[str, list[float]]]:  # fmt: skip
    """Microseconds a batch of every way and size, each once a round in a new order, as long as there is time."""
    cases = [(name, size) for size in sizes for name in ways]
    batches = {}
    for name, size in cases:  # the first time of each is not counted: it says how many fit into a slice
        started = time.perf_counter()
        ways[name](size, 3)
        batches[name, size] = max(3, int(slice_s / ((time.perf_counter() - started) / 3)))
    found: dict[str, dict[str, list[float]]] = {str(size): {name: [] for name in ways} for size in sizes}
    for number, (name, size) in rounds(cases, MOST_ROUNDS, SEED):
        if left_s() <= 0 and number > 2:
            break
        count = batches[name, size]
        started = time.perf_counter()
        ways[name](size, count)
        found[str(size)][name].append((time.perf_counter() - started) / count * 1e6)
    return found


def _usual(bench: Bench) -> list[int]:
    return [size for size in (1, 8, 32, 64, 128) if size in bench.sizes]


def latency(bench: Bench, left_s: Callable[[], float]) -> dict[str, Any]:
    """Microseconds from a filled staging to outputs in the staging, one batch at a time, by the host's clock."""
    ways: dict[str, Way] = {
        "plain": bench.run_plain, "engine alone": bench.run_alone_one,
        **{f"ring {copies}": bench.run_ring(copies, 1) for copies in bench.rings},
        **{f"requests, ring {copies}": bench.run_requests(copies, 1) for copies in bench.rings},
    }  # fmt: skip
    times = timed(ways, _usual(bench), 0.04, left_s)
    return {size: {name: median(values) for name, values in by.items()} for size, by in times.items()}


def throughput(bench: Bench, left_s: Callable[[], float]) -> dict[str, Any]:
    """Items a second with several batches in flight; `share`: of the faster way of the engine alone, by round."""
    ways: dict[str, Way] = {
        "plain": bench.run_plain, "engine alone": bench.run_alone, "engine alone, two streams": bench.run_alone_twice,
        **{f"requests, ring {copies}, 3 in flight": bench.run_requests(copies, 3) for copies in bench.rings},
    }  # fmt: skip
    for copies in bench.rings:
        for in_flight in range(1, SLOTS + 1):
            ways[f"ring {copies}, {in_flight} in flight"] = bench.run_ring(copies, in_flight)
    times = timed(ways, _usual(bench), 0.06, left_s)
    found: dict[str, Any] = {}
    for size, by in times.items():
        whole = min(len(values) for values in by.values())  # rounds that every way was in
        alone = [min(by["engine alone"][i], by["engine alone, two streams"][i]) for i in range(whole)]
        found[size] = {
            name: {
                "items_per_s": median([int(size) * 1e6 / value for value in values[:whole]]),
                "share": median([alone[i] / values[i] for i in range(whole)]),
            }
            for name, values in by.items()
        }
    return found
