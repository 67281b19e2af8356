"""Batches of images through a ring whose input a kernel fills, on a device whose streams run in any order."""

from __future__ import annotations

import math
from collections import deque
from functools import partial

import numpy as np
import pytest
from fake_gpu import Engine, FakeGpu
from plain import compiled

from generator.engine.kernels import staging_bytes
from tritonkit_runtime.batch import Array, Batch
from tritonkit_runtime.buffered.errors import BatchError, BrokenError
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.device.errors import CudaError, OutOfMemoryError
from tritonkit_runtime.engine_process.merging import measured
from tritonkit_runtime.parameters import Copies, Limits, StepSpec, TensorSpec
from tritonkit_runtime.preprocess.errors import NotOnGpuError
from tritonkit_runtime.preprocess.kernel import Kernel
from tritonkit_runtime.preprocess.recipe import Recipe, read
from tritonkit_runtime.preprocess.source import BLOCK
from tritonkit_runtime.steps import Chain

SPECS = [
    StepSpec("resize", {"size": [6, 40], "method": "linear"}),
    StepSpec("normalize", {"mean": [10.0, 20.0, 30.0], "std": [2.0, 3.0, 4.0]}),
    StepSpec("channels_first", {}),
]
SIZES = (1, 2, 4, 8)
ITEM = (3, 6, 40)


def recipe() -> Recipe:
    return read(SPECS, TensorSpec("x", "UINT8", (-1, -1, 3)), Limits())


def make(device: FakeGpu, *, max_pixels: int = 5000) -> Kernel:
    def fake(source: str, options: list[str], *, capability: str, cuda: str) -> bytes:
        assert (capability, cuda) == ("9.0", "12.8")
        return compiled(source, options)

    return Kernel(device, recipe(), "pixels", max_pixels, compiled=fake)


def expected(images: list[Array]) -> Array:
    chain = Chain(SPECS, "array", Limits())
    return np.concatenate([chain(Batch({}, (1,)), image[np.newaxis]) for image in images])


def test_an_engine_process_of_images_alone_copies_no_rows() -> None:
    device = FakeGpu(0)
    kernel = make(device)
    ring = Ring(device, Engine(device, ITEM, extra=False), SIZES, slots=2, copies="beside", feeder=kernel)
    times = measured(ring, device)
    assert times.bytes_a_second == math.inf
    assert all(times.of(size) is not None for size in SIZES)
    ring.close()
    kernel.close()


def some(lot: np.random.Generator, count: int, most: int = 70) -> list[Array]:
    """The first of 200 and more a value, so that no row of them becomes zeros."""
    return [lot.integers(100, 256, (*lot.integers(1, most, 2), 3), np.uint8) for _ in range(count)]


def begun(ring: Ring, kernel: Kernel, images: list[Array], number: int) -> Lane:
    lane = ring.take()
    staging = kernel.stagings[lane.number]
    staging.clear()
    for index, image in enumerate(images):
        passing = image.copy()
        staging.add(passing, len(images) - index - 1)
        passing[...] = 0xA5  # whoever made the image may write over it at once
    lane.slot.staged["k"][: len(images)] = number
    ring.start(lane, len(images))
    return lane


def ended(ring: Ring, lane: Lane, images: list[Array], number: int) -> None:
    found = ring.finish(lane)
    np.testing.assert_array_equal(found["echo"], expected(images))
    assert found["marks"].ravel().tolist() == [1000 * number + len(images)] * len(images), "the padding is zeros"
    ring.give_back(lane)


@pytest.mark.parametrize("copies", ["inside", "beside", "auto"])
@pytest.mark.parametrize("graphs", [True, False])
def test_every_batch_gets_its_own_pixels_in_whatever_order_streams_run(copies: Copies, graphs: bool) -> None:
    for seed in range(12):
        device = FakeGpu(seed)
        kernel = make(device, max_pixels=1500)
        engine = Engine(device, ITEM)
        ring = Ring(device, engine, SIZES, slots=3, copies=copies, graphs=graphs, feeder=kernel)
        lot = np.random.default_rng(seed)
        under_way = deque[tuple[Lane, list[Array], int]]()
        for number, count in enumerate(lot.integers(1, 9, 15).tolist()):
            if not ring.free:
                ended(ring, *under_way.popleft())
            images = some(lot, count)
            under_way.append((begun(ring, kernel, images, number), images, number))
        while under_way:
            ended(ring, *under_way.popleft())
        ring.close()
        kernel.close()
        engine.close()
        assert device.held() == (0, 0, 0, 0)
        assert not device.modules


def test_one_launch_a_batch_and_nothing_is_allocated() -> None:
    device = FakeGpu()
    kernel = make(device)
    ring = Ring(device, Engine(device, ITEM), SIZES, slots=2, feeder=kernel)
    before = {name: device.counts[name] for name in ("allocate", "pinned", "stream", "event", "module")}
    device.launches.clear()
    for number, count in enumerate((8, 3, 1, 5)):
        images = some(np.random.default_rng(number), count)
        ended(ring, begun(ring, kernel, images, number), images, number)
    assert {name: device.counts[name] for name in before} == before
    # Blocks count the bucket's images, then rows, then columns: 6 rows are one block, 40 columns are two.
    assert [launch.grid for launch in device.launches] == [(8, 1, 2), (4, 1, 2), (1, 1, 2), (8, 1, 2)]
    assert {launch.block for launch in device.launches} == {(*BLOCK, 1)}
    addresses = [(kernel.table, lane.slot.addresses["pixels"]) for lane in ring.lanes]
    assert [launch.pointers[1:] for launch in device.launches] == [*addresses, *addresses]
    ring.close()
    kernel.close()


def test_the_input_has_no_staging_that_is_not_used() -> None:
    device = FakeGpu()
    kernel = make(device)
    ring = Ring(device, Engine(device, ITEM), SIZES, slots=2, feeder=kernel)
    for lane in ring.lanes:
        assert set(lane.slot.staged) == {"k", "echo", "marks"}
    ring.close()
    kernel.close()


def test_images_without_room_come_resized_from_the_cpu_and_are_the_same() -> None:
    """Room for 8 images of 300 pixels; every other one keeps its place at the size that is made."""
    device = FakeGpu()
    kernel = make(device, max_pixels=300)
    ring = Ring(device, Engine(device, ITEM), SIZES, slots=2, feeder=kernel)
    lot = np.random.default_rng(2)
    small, large = lot.integers(100, 256, (9, 9, 3), np.uint8), lot.integers(100, 256, (90, 70, 3), np.uint8)
    for number, (images, shrunk) in enumerate(
        [([small] * 8, 0), ([large] * 8, 8), ([small, large, large, small], 2)]
    ):
        staging = kernel.stagings[ring.lanes[number % 2].number]
        before = staging.shrunk
        ended(ring, begun(ring, kernel, images, number), images, number)
        assert staging.shrunk - before == shrunk
    ring.close()
    kernel.close()


def test_a_large_image_leaves_the_others_their_place() -> None:
    device = FakeGpu()
    kernel = make(device, max_pixels=300)
    ring = Ring(device, Engine(device, ITEM), SIZES, slots=2, feeder=kernel)
    images = [np.full((50, 50, 3), 200, np.uint8), *[np.full((9, 30, 3), 190 + n, np.uint8) for n in range(7)]]
    ended(ring, begun(ring, kernel, images, 1), images, 1)
    assert sum(staging.shrunk for staging in kernel.stagings) == 1
    ring.close()
    kernel.close()


def test_a_batch_shares_its_room() -> None:
    """A large image is no trouble where the others leave it room."""
    device = FakeGpu()
    kernel = make(device, max_pixels=2000)
    ring = Ring(device, Engine(device, ITEM), SIZES, slots=2, feeder=kernel)
    lot = np.random.default_rng(2)
    images = [lot.integers(100, 256, (70, 90, 3), np.uint8), lot.integers(100, 256, (5, 5, 3), np.uint8)]
    ended(ring, begun(ring, kernel, images, 1), images, 1)
    assert [staging.shrunk for staging in kernel.stagings] == [0, 0]
    ring.close()
    kernel.close()


def test_an_engine_that_refuses_costs_one_batch() -> None:
    device = FakeGpu()
    kernel = make(device)
    engine = Engine(device, ITEM, recordable=False)
    ring = Ring(device, engine, SIZES, slots=2, feeder=kernel)
    images = some(np.random.default_rng(0), 4)
    engine.refuses = 1
    with pytest.raises(BatchError, match="the made-up engine refuses"):
        begun(ring, kernel, images, 1)
    ring.give_back(next(lane for lane in ring.lanes if lane not in ring._free))
    ended(ring, begun(ring, kernel, images[:3], 2), images[:3], 2)
    ring.close()
    kernel.close()


@pytest.mark.parametrize(("status", "error"), [(1, BatchError), (700, BrokenError)])
def test_a_kernel_that_cannot_be_started(status: int, error: type[Exception]) -> None:
    device = FakeGpu()
    kernel = make(device)
    ring = Ring(device, Engine(device, ITEM), SIZES, slots=2, feeder=kernel)
    device.fail("run", status)
    with pytest.raises(error, match=f"run failed with {status}"):
        begun(ring, kernel, some(np.random.default_rng(0), 2), 1)


@pytest.mark.parametrize("call", ["module", "function"])
def test_code_that_the_driver_does_not_load_leaves_nothing(call: str) -> None:
    device = FakeGpu()
    device.fail(call, 218)
    with pytest.raises(NotOnGpuError, match=f"the driver does not load the compiled kernel: {call} failed with 218"):
        make(device)
    assert device.held() == (0, 0, 0, 0)
    assert not device.modules


def test_no_room_for_the_pixels_is_said_and_leaves_nothing() -> None:
    device = FakeGpu(limit_bytes=100_000)
    kernel = make(device)
    with pytest.raises(OutOfMemoryError, match=r"there is no room for the pixels of 8 images of slot 0: it takes 12"):
        Ring(device, Engine(device, ITEM), SIZES, slots=2, feeder=kernel)
    kernel.close()
    assert device.held() == (0, 0, 0, 0)


def test_a_table_that_cannot_be_copied_leaves_nothing() -> None:
    device = FakeGpu()
    device.fail("copy_in", 1)
    with pytest.raises(CudaError):
        make(device)
    assert device.held() == (0, 0, 0, 0)


def test_rows_of_a_smaller_batch_are_not_left_over() -> None:
    """What follows a large batch in the same lane sees nothing of it."""
    device = FakeGpu()
    kernel = make(device)
    ring = Ring(device, Engine(device, ITEM), (8,), slots=2, copies="beside", feeder=kernel)
    lot = np.random.default_rng(8)
    run = partial(some, lot)
    for number, count in enumerate((8, 8, 1, 2, 7, 3)):
        images = run(count)
        ended(ring, begun(ring, kernel, images, number), images, number)
    ring.close()
    kernel.close()


@pytest.mark.parametrize("max_pixels", [5000, 100, 1 << 24])
def test_the_memory_plan_counts_what_a_slot_holds(max_pixels: int) -> None:
    device = FakeGpu()
    kernel = make(device, max_pixels=max_pixels)
    ring = Ring(device, Engine(device, ITEM), SIZES, slots=2, feeder=kernel)
    steps = [(step.name, step.arguments) for step in SPECS]
    assert {staging.size_bytes for staging in kernel.stagings} == {
        staging_bytes(steps, (-1, -1, 3), max_pixels, SIZES[-1])
    }
    ring.close()
    kernel.close()
