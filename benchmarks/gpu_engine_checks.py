"""What gpu_engine.py looks at beside time: equal answers, no allocations, and what overlaps."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Any

import numpy as np
from gpu_engine_runs import WAYS, Bench

from generator.engine.compile.tensorrt.runner import TensorRTRunner
from tritonkit_runtime.batch import Tensors
from tritonkit_runtime.buffered.lane import Lane, Span
from tritonkit_runtime.buffered.requests import begin
from tritonkit_runtime.buffered.ring import Copies, Ring
from tritonkit_runtime.device.cuda import Cuda

# A plan may pick other kernels for another size of batch: so far may answers be apart, of the range of the outputs.
TOLERANCE = 0.01
TRACED = 12


def equal(bench: Bench, runner: TensorRTRunner) -> dict[str, Any]:
    """The ring's answers against the plan's own: run with the same zeros as padding, and run without padding."""
    largest = bench.sizes[-1]
    counts = sorted({*bench.sizes, *(n for n in (3, 5, 11, 23, 33, 63, 100) if n <= largest)})
    found: dict[str, Any] = {"items": counts, "tolerance": TOLERANCE, "ways": {}}
    for copies, ring in bench.rings.items():
        worst = {"padded_bits_differ": 0, "padded": 0.0, "unpadded": 0.0, "after_others_bits_differ": 0}
        for number, items in enumerate(counts):
            batch = bench.batch(items, number)
            answer = ring.run(batch)
            size = ring.buckets.of(items)
            padded = {name: _padded(array, size) for name, array in batch.items()}
            with_zeros, without = runner.run(padded), runner.run(batch)
            for first in range(len(ring.lanes) if items < size else 0):  # other items through every lane
                ring.run(bench.batch(largest, 50 + first))
            again = ring.run(batch)
            for name, value in answer.items():
                worst["padded_bits_differ"] += int((value != with_zeros[name][:items]).sum())
                worst["after_others_bits_differ"] += int((value != again[name]).sum())
                worst["padded"] = max(worst["padded"], _apart(value, with_zeros[name][:items]))
                worst["unpadded"] = max(worst["unpadded"], _apart(value, without[name]))
        found["ways"][copies] = worst
    found["many_requests"] = _many(bench, runner)
    return found


def _padded(array: Any, size: int) -> Any:
    return np.concatenate([array, np.zeros((size - len(array), *array.shape[1:]), array.dtype)])


def _apart(value: Any, other: Any) -> float:
    """The largest difference, as a share of the range of the outputs."""
    wide = float(np.ptp(other.astype(np.float64))) or 1.0
    return float(np.abs(value.astype(np.float64) - other.astype(np.float64)).max()) / wide


def _many(bench: Bench, runner: TensorRTRunner) -> dict[str, Any]:
    """Several requests a batch, three batches in flight, a bad request in each: everyone gets the own answer."""
    lot, worst, refused, pending = np.random.default_rng(5), 0.0, 0, deque[Any]()
    ring = next(iter(bench.rings.values()))

    def end() -> None:
        nonlocal worst, refused
        requests, started = pending.popleft()
        for request, answer in zip(requests, started.answers(), strict=True):
            if isinstance(answer, Exception):
                refused += 1
                continue
            expected = runner.run(request)
            worst = max(worst, *(_apart(value, expected[name]) for name, value in answer.items()))

    batches = 8
    for number in range(batches):
        counts = lot.integers(1, 5, size=4)
        requests: list[Tensors] = [
            bench.batch(int(n), 10 * number + i) for i, n in enumerate(counts) if n <= bench.sizes[-1]
        ]
        requests.insert(1, {name: array[..., :-1] for name, array in requests[0].items()})
        pending.append((requests, begin(ring, requests)))
        while len(pending) > 2:
            end()
    while pending:
        end()
    return {"unpadded": worst, "bad_requests": batches, "refused": refused}


def allocations(bench: Bench, device: Cuda) -> dict[str, Any]:
    """What 400 batches of all sizes allocate on the GPU: by this process's own count, and by the driver's."""
    lot = np.random.default_rng(6)
    counted = dict(getattr(device, "allocated", {}))
    free_before = device.memory()[0]
    for ring in bench.rings.values():
        under_way = deque[Lane]()
        for _ in range(200):
            if len(under_way) == 3:
                _end(ring, under_way.popleft())
            lane = ring.take()
            ring.start(lane, int(lot.integers(1, bench.sizes[-1] + 1)))
            under_way.append(lane)
        while under_way:
            _end(ring, under_way.popleft())
    now = dict(getattr(device, "allocated", {}))
    return {
        "batches": 400, "counted_at_load": counted,
        "counted_while_running": {name: now[name] - counted[name] for name in now},
        "free_bytes_changed_by": device.memory()[0] - free_before,
    }  # fmt: skip


def _end(ring: Ring, lane: Lane) -> None:
    ring.finish(lane)
    ring.give_back(lane)


def traces(bench: Bench) -> dict[str, Any]:
    """When each part of neighbouring batches ran, for both ways of copying and two sizes of batch."""
    sizes = sorted({min(8, bench.sizes[-1]), bench.sizes[-1]})
    return {f"{copies}, batch {size}": _try(bench, copies, size) for copies in WAYS for size in sizes}


def _try(bench: Bench, copies: Copies, size: int) -> dict[str, Any]:
    try:
        return _trace(bench, copies, size)
    except Exception as error:  # noqa: BLE001 — the other traces may work
        return {"failed": f"{type(error).__name__}: {error}"}


def _trace(bench: Bench, copies: Copies, size: int) -> dict[str, Any]:
    ring = bench.ring(copies, 3, (size,), trace=True)
    try:
        under_way = deque[Lane]()
        for _ in range(TRACED):
            if len(under_way) == 3:
                _end(ring, under_way.popleft())
            lane = ring.take()
            ring.start(lane, size)
            under_way.append(lane)
        while under_way:
            _end(ring, under_way.popleft())
        spans = sorted(ring.spans)
    finally:
        ring.close()
    first = spans[0].copy_in_us[0]
    pairs = list(pairwise(spans))
    return {
        "copy_in_of_next_while_computing_us": [_both(b.copy_in_us, a.compute_us) for a, b in pairs],
        "copy_out_of_last_while_computing_us": [_both(a.copy_out_us, b.compute_us) for a, b in pairs],
        "compute_of_next_while_computing_us": [_both(b.compute_us, a.compute_us) for a, b in pairs],
        "gap_between_computing_us": [b.compute_us[0] - a.compute_us[1] for a, b in pairs],
        "spans": [_shifted(span, first) for span in spans],
    }


def _both(a: tuple[float, float], b: tuple[float, float]) -> float:
    return round(max(0.0, min(a[1], b[1]) - max(a[0], b[0])), 1)


def _shifted(span: Span, first: float) -> dict[str, Any]:
    parts = {"copy_in_us": span.copy_in_us, "compute_us": span.compute_us, "copy_out_us": span.copy_out_us}
    ends = {name: [round(end - first, 1) for end in part] for name, part in parts.items()}
    return {"batch": span.batch, "slot": span.slot, **ends}


def passed(data: dict[str, Any]) -> bool:
    """Whether the answers were right, nothing was allocated, and every step came to its end."""
    if any("failed" in value for value in data.values() if isinstance(value, dict)) or "throughput" not in data:
        return False
    ways, many = data["equal"]["ways"].values(), data["equal"]["many_requests"]
    both = len(ways) == len(WAYS)
    right = all(way["unpadded"] <= TOLERANCE and way["padded"] <= TOLERANCE for way in ways)
    same = all(way["after_others_bits_differ"] == 0 for way in ways)
    told = many["unpadded"] <= TOLERANCE and many["refused"] == many["bad_requests"]
    nothing = not any(data["allocations"]["counted_while_running"].values())
    return both and right and same and told and nothing and data["faults"]["lost"]["answers_afterwards"] == 0
