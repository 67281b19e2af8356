"""Batches through a ring on a device whose streams run late and in any order that the events allow."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from fake_device import FakeDevice
from fake_engine import FakeEngine

from tritonkit_runtime.batch import Array, Tensors
from tritonkit_runtime.buffered.errors import BatchError, BrokenError, ShapeError
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.ring import INSIDE_BYTES, Copies, Ring, _inside
from tritonkit_runtime.buffered.shapes import sizes_of
from tritonkit_runtime.parameters import ParameterError

WAYS: tuple[Copies, ...] = ("inside", "beside")
SIZES = (1, 2, 4, 8)


def batch(items: int, lot: np.random.Generator) -> Tensors:
    return {"x": lot.normal(size=(items, 3)).astype(np.float32), "k": lot.integers(0, 9, items)}


def started(ring: Ring, tensors: Tensors) -> Lane:
    lane = ring.take()
    items = len(tensors["x"])
    for name, array in tensors.items():
        lane.slot.staged[name][:items] = array
    ring.start(lane, items)
    return lane


def finished(ring: Ring, lane: Lane, tensors: Tensors) -> None:
    """Compares the outputs with what they must be; the total shows that the padding is zeros."""
    outputs = ring.finish(lane)
    np.testing.assert_array_equal(outputs["y"], 2 * tensors["x"] + tensors["k"][:, None].astype(np.float32))
    totals = outputs["total"][:, 0]
    np.testing.assert_allclose(totals, [tensors["x"].sum(dtype=np.float64)] * len(totals), rtol=1e-4, atol=1e-5)
    ring.give_back(lane)


@pytest.mark.parametrize("copies", WAYS)
@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("slots", [2, 3, 4])
def test_every_batch_gets_its_own_answer_in_whatever_order_streams_run(
    copies: Copies, graphs: bool, slots: int
) -> None:
    for seed in range(25):
        device = FakeDevice(seed)
        engine = FakeEngine(device)
        ring = Ring(device, engine, SIZES, slots=slots, copies=copies, graphs=graphs)
        lot = np.random.default_rng(seed)
        under_way = deque[tuple[Lane, Tensors]]()
        for items in lot.integers(1, SIZES[-1] + 1, size=24):
            if not ring.free:
                finished(ring, *under_way.popleft())
            tensors = batch(int(items), lot)
            under_way.append((started(ring, tensors), tensors))
        while under_way:
            finished(ring, *under_way.popleft())
        ring.close()
        engine.close()
        assert device.held() == (0, 0, 0, 0)


@pytest.mark.parametrize("copies", WAYS)
def test_batches_may_be_finished_in_another_order(copies: Copies) -> None:
    for seed in range(10):
        device, lot = FakeDevice(seed), np.random.default_rng(seed)
        ring = Ring(device, FakeEngine(device), SIZES, slots=4, copies=copies)
        for _ in range(4):
            tensors = [batch(int(n), lot) for n in lot.integers(1, 9, size=4)]
            lanes = [started(ring, given) for given in tensors]
            for index in lot.permutation(4):
                finished(ring, lanes[index], tensors[index])


@pytest.mark.parametrize("copies", WAYS)
def test_after_it_is_warm_nothing_is_allocated_and_the_host_waits_once_a_batch(copies: Copies) -> None:
    device, lot = FakeDevice(), np.random.default_rng(1)
    engine = FakeEngine(device)
    ring = Ring(device, engine, SIZES, slots=3, copies=copies)
    assert engine.warmed == [8, 4, 2, 1] * 3
    assert device.counts["launch"] == 3 * len(SIZES), "every recording has been launched once"
    before = device.counts.copy()
    batches = 40
    for _ in range(batches):
        tensors = batch(int(lot.integers(1, 9)), lot)
        finished(ring, started(ring, tensors), tensors)
    done = device.counts - before
    made = ("allocate", "pinned", "free", "free_pinned", "stream", "event", "begin_capture", "end_capture")
    assert [done[name] for name in made] == [0] * len(made)
    assert (done["wait_for"], done["wait"]) == (batches, 0)
    assert done["launch"] == batches
    if copies == "inside":
        assert not done["copy_in"] + done["copy_out"] + done["zero"] + done["wait_in"]


def test_only_items_are_copied_beside_and_padding_is_zeroed_only_where_something_was() -> None:
    device, lot = FakeDevice(), np.random.default_rng(1)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2, copies="beside")
    zeroed = []
    for items in (8, 8, 3, 3, 3, 3, 8, 8, 5, 5):
        before = device.counts["zero"]
        tensors = batch(items, lot)
        finished(ring, started(ring, tensors), tensors)
        zeroed.append(device.counts["zero"] - before)
    # Two inputs; rows 3 of a batch of 4 once a slot, what lies behind them is not looked at; then 5 to 8.
    assert zeroed == [0, 0, 2, 2, 2, 2, 0, 0, 2, 2]


@pytest.mark.parametrize("copies", WAYS)
def test_an_answer_does_not_depend_on_what_was_run_before(copies: Copies) -> None:
    device, lot = FakeDevice(3), np.random.default_rng(2)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2, copies=copies)
    for items in (8, 7, 5, 8, 3, 1, 2, 6, 8, 1):
        for _ in range(2):
            tensors = batch(items, lot)
            finished(ring, started(ring, tensors), tensors)


def test_beside_batches_are_computed_in_the_order_in_which_they_were_started() -> None:
    for seed in range(10):
        device = FakeDevice(seed)
        engine = FakeEngine(device)
        ring = Ring(device, engine, SIZES, slots=4, copies="beside")
        engine.ran.clear()
        lanes = [started(ring, {"x": np.ones((4, 3), np.float32), "k": np.full(4, n)}) for n in range(4)]
        for lane in reversed(lanes):
            ring.finish(lane)
        assert engine.ran == [0, 1, 2, 3]


def test_copies_lie_beside_the_computing_of_neighbours() -> None:
    device = FakeDevice(seed=None)
    ring = Ring(device, FakeEngine(device), (4,), slots=3, copies="beside", trace=True)
    lot = np.random.default_rng(0)
    under_way = deque[tuple[Lane, Tensors]]()
    for _ in range(10):
        if not ring.free:
            finished(ring, *under_way.popleft())
        tensors = batch(4, lot)
        under_way.append((started(ring, tensors), tensors))
    while under_way:
        finished(ring, *under_way.popleft())
    assert [span.batch for span in ring.spans] == list(range(1, 11))
    for a, b in list(pairwise(ring.spans))[1:]:
        assert a.compute_us[0] <= b.copy_in_us[0] < b.copy_in_us[1] <= a.compute_us[1]
        assert b.compute_us[0] < a.copy_out_us[1] <= b.compute_us[1]
        assert b.compute_us[0] == a.compute_us[1], "the engine never waits"


def test_the_same_trace_from_inside_a_recording() -> None:
    device = FakeDevice(seed=None)
    ring = Ring(device, FakeEngine(device), (4,), slots=2, copies="inside", trace=True)
    tensors = batch(4, np.random.default_rng(0))
    for _ in range(3):
        finished(ring, started(ring, tensors), tensors)
    for span in ring.spans:
        assert span.copy_in_us[1] - span.copy_in_us[0] == 100
        assert span.compute_us[1] - span.compute_us[0] == 100
        assert span.copy_in_us[1] <= span.compute_us[0] <= span.compute_us[1] <= span.copy_out_us[0]


def test_auto_puts_small_batches_inside() -> None:
    device = FakeDevice()
    engine = FakeEngine(device)
    one = sum(tensor.bytes_of(1) for tensor in (*engine.inputs, *engine.outputs))
    sizes = (1, INSIDE_BYTES // one, INSIDE_BYTES // one + 1)
    assert _inside(device, engine, sizes_of(sizes, ()), "auto") == set(sizes_of(sizes[:2], ()))
    with pytest.raises(ParameterError, match="copies is 'under'; valid are auto, inside and beside"):
        Ring(device, engine, SIZES, copies="under")  # type: ignore[arg-type]


def test_sizes_inside_and_beside_in_one_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tritonkit_runtime.buffered.ring.INSIDE_BYTES", 150)
    for seed in range(15):
        device, lot = FakeDevice(seed), np.random.default_rng(seed)
        ring = Ring(device, FakeEngine(device), SIZES, slots=3)
        assert 0 < len(ring.lanes[0].inside) < len(SIZES)
        under_way = deque[tuple[Lane, Tensors]]()
        for items in lot.integers(1, 9, size=20):
            if not ring.free:
                finished(ring, *under_way.popleft())
            tensors = batch(int(items), lot)
            under_way.append((started(ring, tensors), tensors))
        while under_way:
            finished(ring, *under_way.popleft())


def test_lanes_are_taken_and_given_back() -> None:
    device = FakeDevice()
    ring = Ring(device, FakeEngine(device), SIZES, slots=2)
    first, second = ring.take(), ring.take()
    assert (first.number, second.number, ring.free) == (0, 1, 0)
    with pytest.raises(BatchError, match="all 2 slots are in use: finish a batch and give its lane back"):
        ring.take()
    ring.give_back(second)
    with pytest.raises(ValueError, match="slot 1 was given back twice"):
        ring.give_back(second)
    with pytest.raises(ShapeError, match="a batch of 9 items has no bucket"):
        ring.start(first, 9)
    ring.close()
    closed: list[Callable[[], object]] = [ring.take, lambda: ring.start(first, 1), lambda: ring.finish(first)]
    for call in closed:
        with pytest.raises(BrokenError, match="the ring is closed"):
            call()


@pytest.mark.parametrize("copies", WAYS)
def test_closing_waits_for_what_is_under_way(copies: Copies) -> None:
    for seed in range(5):
        device, lot = FakeDevice(seed), np.random.default_rng(seed)
        ring = Ring(device, FakeEngine(device), SIZES, slots=3, copies=copies)
        for _ in range(3):
            started(ring, batch(5, lot))
        ring.close()
        assert device.held() == (0, 0, 0, 0)


def test_fewer_than_two_slots_are_no_ring() -> None:
    device = FakeDevice()
    with pytest.raises(ParameterError, match="slots is 1; a ring needs at least 2"):
        Ring(device, FakeEngine(device), SIZES, slots=1)
    with pytest.raises(ParameterError, match="its only bucket is 1"):
        Ring(device, FakeEngine(device, batched=False), SIZES)
    assert device.held() == (0, 0, 0, 0)


def test_without_a_batch_axis() -> None:
    device = FakeDevice()
    ring = Ring(device, FakeEngine(device, batched=False), [1])
    x: Array = np.array([1, 2, 3], np.float32)
    found = ring.run({"x": x, "k": np.array(5)})
    np.testing.assert_array_equal(found["y"], 2 * x + 5)
    assert found["total"].tolist() == [6]


@pytest.mark.parametrize(("short_us", "awake"), [(1e9, True), (0.0, False)])
def test_a_batch_that_was_short_once_is_waited_for_awake_and_a_long_one_asleep(
    monkeypatch: pytest.MonkeyPatch, short_us: float, awake: bool
) -> None:
    monkeypatch.setattr("tritonkit_runtime.buffered.lane.SHORT_US", short_us)
    device, lot = FakeDevice(), np.random.default_rng(1)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2)
    for items in (3, 3, 3, 3, 8):  # each lane has two of the size 4; nobody knows yet how long 8 take
        tensors = batch(items, lot)
        finished(ring, started(ring, tensors), tensors)
    assert [us > 0 for us in device.awake_us] == [False, False, awake, awake, False]


def test_who_waits_for_a_lane_has_the_next_one() -> None:
    device = FakeDevice()
    ring = Ring(device, FakeEngine(device), SIZES, slots=2)
    first, _ = ring.take(), ring.take()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ring.take, 60.0)
        while not ring._waiting:
            assert not waiting.done()
        ring.give_back(first)
        assert waiting.result(60) is first
    assert ring._waiting == 0
