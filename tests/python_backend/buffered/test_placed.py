"""Rows from the host and from the device in one batch, and outputs that stay on the device until they are let go of.

Nothing is read after its owner has gone, and nothing is written over while somebody still reads it: memory that is
freed or given back is filled with poison, and the streams of the device run late, in any order.
"""

from __future__ import annotations

import ctypes
import gc
from collections import deque
from typing import Any, cast

import numpy as np
import pytest
from fake_device import POISON, FakeDevice
from fake_engine import FakeEngine, X
from fake_server import Memory
from hypothesis import given, settings
from hypothesis import strategies as st

from tritonkit_runtime.batch import Array, Joined, Tensors
from tritonkit_runtime.buffered.errors import BatchError, BrokenError, FullError, ShapeError
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.placing import any_placed, run_placed
from tritonkit_runtime.buffered.ring import Copies, Ring
from tritonkit_runtime.placed import OnDevice

SIZES = (1, 2, 4, 8)
WAYS: tuple[Copies, ...] = ("inside", "beside")


def on(device: FakeDevice, array: Array) -> Array:
    """It in memory of its own on the device; typed as what it stands for."""
    memory = Memory(device, array)
    return cast("Array", OnDevice(memory.pointer, array.shape, array.dtype, memory))


def read(tensor: Any) -> Array:
    """What lies there now."""
    assert isinstance(tensor, OnDevice)
    block = (ctypes.c_ubyte * tensor.nbytes).from_address(tensor.pointer)
    return np.frombuffer(bytes(block), tensor.dtype).reshape(tensor.shape)


def request(items: int, lot: np.random.Generator) -> Tensors:
    return {"x": lot.normal(size=(items, 3)).astype(np.float32), "k": lot.integers(0, 9, items)}


def expected(tensors: Tensors) -> Array:
    found: Array = 2 * tensors["x"] + tensors["k"][:, None].astype(np.float32)
    return found


def placed(device: FakeDevice, tensors: Tensors, where: int) -> Tensors:
    """The same with `x` on the device (bit 1), and `k` (bit 2)."""
    found = dict(tensors)
    for bit, name in enumerate(("x", "k")):
        if where >> bit & 1:
            found[name] = on(device, tensors[name])
    return found


def joined(requests: list[Tensors]) -> Any:
    return Joined(requests) if len(requests) > 1 else requests[0]


def poison(lane: Lane) -> None:
    """What a batch has left, all over: rows that it wrote, and outputs. What it did not write must be zeros still."""
    for tensor in lane.slot.copied:
        ctypes.memset(lane.slot.addresses[tensor.name], POISON, tensor.bytes_of(lane.items))
        ctypes.memset(lane.slot.hosts[tensor.name], POISON, tensor.bytes_of(lane.items))
    for tensor in lane.slot.engine.outputs:
        ctypes.memset(lane.slot.addresses[tensor.name], POISON, tensor.bytes_of(8))
        if tensor.name in lane.slot.hosts:
            ctypes.memset(lane.slot.hosts[tensor.name], POISON, tensor.bytes_of(8))


def poisoning(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every lane is poisoned when it is given back."""
    real = ring.give_back

    def give_back(lane: Lane) -> None:
        if lane.items:
            poison(lane)
        real(lane)

    monkeypatch.setattr(ring, "give_back", give_back)


Batches = st.lists(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=4), min_size=1, max_size=5
)


@settings(max_examples=80)
@given(Batches, st.sampled_from(WAYS), st.booleans(), st.booleans(), st.integers(0, 1000))
def test_rows_from_anywhere_in_one_batch(
    batches: list[list[tuple[int, int]]], copies: Copies, graphs: bool, kept: bool, seed: int
) -> None:
    device, lot = FakeDevice(seed), np.random.default_rng(seed)
    engine = FakeEngine(device)
    ring = Ring(
        device, engine, SIZES, slots=2, copies=copies, graphs=graphs, direct=True, kept=["y"] if kept else []
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        poisoning(ring, patch)
        for told in batches:
            whole = [request(items, lot) for items, _ in told]
            asked = joined([placed(device, r, where) for r, (_, where) in zip(whole, told, strict=True)])
            if sum(items for items, _ in told) > SIZES[-1]:
                with pytest.raises(ShapeError, match="has no bucket"):
                    run_placed(ring, asked, 0)
                del asked
                continue
            answer = run_placed(ring, asked, 0)
            del asked  # whoever owned the inputs frees them, which poisons them
            y = read(answer["y"]) if kept else answer["y"]
            np.testing.assert_array_equal(y, np.concatenate([expected(r) for r in whole]))
            total = sum(r["x"].sum(dtype=np.float64) for r in whole)
            np.testing.assert_allclose(answer["total"], total, rtol=1e-4, atol=1e-4)  # padding is zeros
            del answer
    assert ring.free == 2
    ring.close()
    engine.close()
    assert device.held() == (0, 0, 0, 0)


@pytest.mark.parametrize("copies", WAYS)
@pytest.mark.parametrize("slots", [2, 3, 4])
def test_answers_that_stay_are_not_written_over_however_long_they_are_held(
    copies: Copies, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as there are lanes are held all the time, and each is looked at once more before it goes."""
    for seed in range(12):
        device, lot = FakeDevice(seed), np.random.default_rng(seed)
        ring = Ring(device, FakeEngine(device), SIZES, slots=slots, copies=copies, direct=True, kept=["y", "total"])
        poisoning(ring, monkeypatch)
        holding: deque[tuple[list[Any], list[Array]]] = deque()
        for items in lot.integers(1, 5, size=30):
            if not ring.free:
                with pytest.raises(FullError, match=f"all {slots} slots are in use"):
                    run_placed(ring, request(1, lot), 0)
                parts, wanted = holding.popleft()
                for index in lot.permutation(len(parts)):  # requests of one batch are let go of in any order
                    np.testing.assert_array_equal(read(parts[index]), wanted[index])
                    parts[index] = None
            whole = [request(int(items), lot), request(int(lot.integers(1, 5)), lot)]
            places = lot.integers(0, 4, size=2)
            asked = Joined([placed(device, r, int(where)) for r, where in zip(whole, places, strict=True)])
            y = run_placed(ring, asked, 0)["y"]
            del asked
            holding.append(([y[: int(items)], y[int(items) :]], [expected(r) for r in whole]))
            del y
        for parts, wanted in holding:
            for part, right in zip(parts, wanted, strict=True):
                np.testing.assert_array_equal(read(part), right)
        del part
        holding.clear()
        parts.clear()
        assert ring.free == slots
        ring.close()


def test_the_poison_is_seen() -> None:
    """The test above can fail: an answer that is read after it was let go of is not what it was."""
    device, lot = FakeDevice(), np.random.default_rng(0)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2, direct=True, kept=["y"])
    with pytest.MonkeyPatch.context() as patch:
        poisoning(ring, patch)
        answer = run_placed(ring, request(2, lot), 0)
        gone = OnDevice(answer["y"].pointer, answer["y"].shape, X.dtype, None)  # type: ignore[attr-defined]
        before = read(gone)
        del answer
    assert not np.array_equal(read(gone), before)
    assert set(read(gone).tobytes()) == {POISON}


def test_an_input_that_is_freed_too_early_is_seen() -> None:
    device, lot = FakeDevice(), np.random.default_rng(0)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2, direct=True)
    tensors = placed(device, request(2, lot), 1)
    device.free(tensors["x"].pointer)  # type: ignore[attr-defined]
    with pytest.raises(BatchError, match="are not within one block"):
        run_placed(ring, tensors, 0)
    device.live[tensors["x"].pointer] = device._dead[-1]  # type: ignore[attr-defined]


@pytest.mark.parametrize("copies", WAYS)
def test_rows_on_the_device_never_see_the_host_and_nothing_is_allocated(copies: Copies) -> None:
    device, lot = FakeDevice(), np.random.default_rng(1)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2, copies=copies, direct=True, kept=["y", "total"])
    asked = [joined([placed(device, request(items, lot), 3)]) for items in lot.integers(1, 9, size=20)]
    before = device.counts.copy()
    for tensors in asked:
        run_placed(ring, tensors, 0)
    done = device.counts - before
    assert (done["copy_in"], done["copy_out"], done["copy_within"]) == (0, 0, 2 * len(asked))
    assert (done["wait_for"], done["wait"], done["launch"]) == (len(asked), 0, len(asked))
    made = ("allocate", "pinned", "stream", "event", "begin_capture", "end_capture")
    assert [done[name] for name in made] == [0] * len(made)


def test_rows_of_the_host_between_those_of_the_device_are_copied_together() -> None:
    device, lot = FakeDevice(), np.random.default_rng(1)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2, direct=True)
    whole = [request(1, lot) for _ in range(6)]
    asked = Joined([placed(device, r, where) for r, where in zip(whole, (0, 0, 1, 0, 0, 1), strict=True)])
    before = device.counts.copy()
    answer = run_placed(ring, asked, 0)
    done = device.counts - before
    # x: rows 0 and 1, and 3 and 4, in one copy each; k in one.
    assert (done["copy_in"], done["copy_within"]) == (3, 2)
    np.testing.assert_array_equal(answer["y"], np.concatenate([expected(r) for r in whole]))


def test_a_batch_of_the_host_alone_goes_as_ever() -> None:
    device, lot = FakeDevice(), np.random.default_rng(1)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2, copies="inside", direct=True)
    assert device.counts["end_capture"] == 2 * 2 * len(SIZES), "each size is recorded with copies and without"
    before = device.counts.copy()
    tensors = request(3, lot)
    assert not any_placed(tensors)
    np.testing.assert_array_equal(run_placed(ring, tensors, 0)["y"], expected(tensors))
    done = device.counts - before
    assert (done["copy_in"], done["launch"]) == (0, 1)


def test_without_a_batch_axis() -> None:
    device = FakeDevice(3)
    ring = Ring(device, FakeEngine(device, batched=False), [1], direct=True, kept=["y"])
    x, k = np.array([1, 2, 3], np.float32), np.array(5)
    for tensors in ({"x": on(device, x), "k": k}, {"x": x, "k": on(device, k)}, {"x": x, "k": k}):
        found = run_placed(ring, tensors, 0)
        np.testing.assert_array_equal(read(found["y"]), 2 * x + 5)
        assert found["total"].tolist() == [6]


def test_what_does_not_fit_is_told_and_keeps_no_lane() -> None:
    device, lot = FakeDevice(), np.random.default_rng(0)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2, direct=True, kept=["y"])
    good = request(2, lot)
    bad: list[tuple[Tensors, str]] = [
        ({"x": good["x"]}, "the inputs are k, x; the request has x"),
        ({**good, "x": on(device, good["x"][:, :2].copy())}, r"input 'x' is float32 \[2, 2\], expected FP32"),
        ({**good, "x": on(device, good["x"].astype(np.float64))}, r"input 'x' is float64 \[2, 3\], expected FP32"),
        (
            {**good, "k": on(device, good["k"][:1].copy())},
            "the inputs of the requests differ in their number of items",
        ),
    ]
    for tensors, sentence in bad:
        with pytest.raises(ShapeError, match=sentence):
            run_placed(ring, tensors, 0)
    assert ring.free == 2


@pytest.mark.parametrize("name", ["copy_within", "launch", "wait_for"])
@pytest.mark.parametrize(("status", "error"), [(1, BatchError), (700, BrokenError)])
def test_a_batch_that_fails_lets_go_of_everything(name: str, status: int, error: type[Exception]) -> None:
    device, lot = FakeDevice(), np.random.default_rng(0)
    ring = Ring(device, FakeEngine(device), SIZES, slots=2, direct=True, kept=["y"])
    tensors = placed(device, request(3, lot), 3)
    blocks = len(device.live)
    device.fail(name, status)
    with pytest.raises(error):
        run_placed(ring, tensors, 0)
    assert ring.free == 2
    if status == 1:
        del tensors
        gc.collect()  # an error and its traceback hold each other
        assert len(device.live) == blocks - 2
        again = request(3, lot)
        np.testing.assert_array_equal(read(run_placed(ring, placed(device, again, 1), 0)["y"]), expected(again))


def test_rows_of_a_tensor_on_the_device_are_taken_in_place() -> None:
    device = FakeDevice()
    tensor: Any = on(device, np.arange(12, dtype=np.int32).reshape(4, 3))
    assert (len(tensor), tensor.ndim, tensor.nbytes) == (4, 2, 48)
    assert read(tensor[1:3]).tolist() == [[3, 4, 5], [6, 7, 8]]
    assert read(tensor[2:]).tolist() == [[6, 7, 8], [9, 10, 11]]
    assert tensor[1:3].owner is tensor.owner
    with pytest.raises(IndexError, match="found a step of 2"):
        tensor[::2]
