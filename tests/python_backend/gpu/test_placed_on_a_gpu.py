"""Tensors that lie on a real GPU, in and out of a plan behind the ring: poisoned as soon as their owners let go."""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_memory import POISON, Pool

from tritonkit_runtime.batch import Array, Joined, Tensors
from tritonkit_runtime.buffered.errors import FullError
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.placing import run_placed
from tritonkit_runtime.buffered.ring import Copies, Ring
from tritonkit_runtime.buffered.tensorrt import TensorRT
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.device.dlpack import Lent, borrow, lent
from tritonkit_runtime.device.errors import OUT_OF_MEMORY, CudaError, OutOfMemoryError
from tritonkit_runtime.parameters import ParameterError, TensorSpec

pytestmark = pytest.mark.gpu

SIZES = (1, 4, 16)
Specs = tuple[list[TensorSpec], list[TensorSpec]]
Cases = list[tuple[Tensors, Tensors]]


@pytest.fixture
def pool(device: Cuda) -> Iterator[Pool]:
    found = Pool(device)
    yield found
    found.close()


@pytest.fixture(scope="module")
def cases(plan: Path, specs: Specs) -> Cases:
    """Requests of 1 to 5 items, and what the plan by itself answers."""
    from generator.engine.compile.tensorrt.runner import loaded
    from tritonkit_runtime.dtypes import NUMPY_DTYPES

    found = []
    with loaded(plan.read_bytes()) as runner:
        for seed in range(10):
            lot, items = np.random.default_rng(seed), seed % 5 + 1
            tensors: Tensors = {
                t.name: lot.standard_normal((items, *t.dims), np.float32).astype(NUMPY_DTYPES[t.dtype])
                for t in specs[0]
            }
            found.append((tensors, dict(runner.run(tensors))))
    return found


def near(found: Array, expected: Array) -> bool:
    """As far as two sizes of batch may differ."""
    return bool(np.abs(found.astype(np.float64) - expected).max() / np.ptp(expected) < 0.01)


def ring_of(device: Cuda, plan: Path, specs: Specs, copies: Copies, slots: int = 3) -> tuple[Ring, TensorRT]:
    engine = TensorRT(device, plan, *specs, SIZES)
    kept = [tensor.name for tensor in engine.outputs]
    return Ring(device, engine, SIZES, slots=slots, copies=copies, direct=True, kept=kept), engine


def poisoning(ring: Ring, pool: Pool) -> None:
    """Every lane that is given back holds poison where its batch was."""
    real = ring.give_back

    def give_back(lane: Lane) -> None:
        for tensor in lane.slot.copied:
            size = tensor.bytes_of(lane.items)
            ctypes.memset(lane.slot.hosts[tensor.name], POISON, size)
            pool.fill(lane.slot.addresses[tensor.name], bytes([POISON]) * size)
        for tensor in lane.slot.engine.outputs:
            pool.fill(lane.slot.addresses[tensor.name], bytes([POISON]) * tensor.bytes_of(SIZES[-1]))
        real(lane)

    ring.give_back = give_back  # type: ignore[method-assign]


@pytest.mark.parametrize("copies", ["inside", "beside"])
def test_batches_from_several_threads_while_all_that_is_let_go_of_is_poisoned(
    device: Cuda, pool: Pool, plan: Path, specs: Specs, cases: Cases, copies: Copies
) -> None:
    ring, engine = ring_of(device, plan, specs, copies)
    poisoning(ring, pool)
    wrong: list[str] = []
    done = [0] * 3

    def work(seed: int) -> None:
        device.use()
        lot = np.random.default_rng(seed)
        held: deque[tuple[Any, list[Tensors]]] = deque()

        def check() -> None:
            answers, expected = held.popleft()
            for name, output in answers.items():
                found, row = pool.array(output), 0
                for right in expected:
                    rows = len(right[name])
                    if not near(found[row : row + rows], right[name]):
                        wrong.append(f"thread {seed}: {name} of a batch of {len(found)}")
                    row += rows

        for _ in range(25):
            chosen = [cases[int(i)] for i in lot.integers(len(cases), size=int(lot.integers(1, 4)))]
            asked = [
                {name: pool.on(array) if lot.random() < 0.6 else array for name, array in tensors.items()}
                for tensors, _ in chosen
            ]
            try:
                answers = run_placed(ring, Joined(asked) if len(asked) > 1 else asked[0], 0.05)
            except FullError:  # all lanes are held, some of them here
                if held:
                    check()
                continue
            asked.clear()
            done[seed] += 1
            held.append((answers, [right for _, right in chosen]))
            del answers
            if lot.random() < 0.6:
                check()
        while held:
            check()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
    assert min(done) >= 5
    assert ring.free == 3
    ring.close()
    engine.close()


@pytest.mark.parametrize("copies", ["inside", "beside"])
def test_nothing_is_allocated_while_rows_come_from_the_gpu(
    device: Cuda, pool: Pool, plan: Path, specs: Specs, cases: Cases, copies: Copies
) -> None:
    ring, engine = ring_of(device, plan, specs, copies)
    asked = [{name: pool.on(array) for name, array in tensors.items()} for tensors, _ in cases]
    run_placed(ring, asked[0], 0)
    before = device.memory()[0]
    for number in range(100):
        run_placed(ring, asked[number % len(asked)], 0)
    assert device.memory()[0] == before
    ring.close()
    engine.close()


def test_capsules_of_a_gpu_hold_their_lane_until_they_are_let_go_of(
    device: Cuda, pool: Pool, plan: Path, specs: Specs, cases: Cases
) -> None:
    ring, engine = ring_of(device, plan, specs, "auto", slots=2)
    poisoning(ring, pool)
    tensors, expected = cases[2]
    taken = {}
    for name, output in run_placed(ring, tensors, 0).items():
        array: Any = output
        taken[name] = borrow(Lent(array.pointer, array.shape, array.dtype, array).__dlpack__())
    del array, output
    for _ in range(5):
        run_placed(ring, cases[3][0], 0)
    for name, capsule in taken.items():
        found = np.frombuffer(pool.read(capsule.pointer, capsule.nbytes), capsule.dtype).reshape(capsule.shape)
        assert near(found, expected[name])
        assert ring.free == 1
        capsule.close()
    assert (ring.free, lent()) == (2, 0)
    ring.close()
    engine.close()


def test_a_batch_of_nan_is_answered_and_the_next_is_right(
    device: Cuda, pool: Pool, plan: Path, specs: Specs, cases: Cases
) -> None:
    ring, engine = ring_of(device, plan, specs, "auto")
    tensors, expected = cases[4]
    odd = {name: np.full_like(array, np.nan) for name, array in tensors.items()}
    for name, output in run_placed(ring, odd, 0).items():
        assert np.isnan(pool.array(output)).any(), name
    del output
    for _ in range(3):  # each lane once, with padding behind the rows where NaN was
        for name, output in run_placed(ring, {n: pool.on(a[:1]) for n, a in tensors.items()}, 0).items():
            assert near(pool.array(output), expected[name][:1])
        del output
    ring.close()
    engine.close()


def test_while_the_gpu_is_full_batches_are_served_and_a_second_ring_is_refused(
    device: Cuda, pool: Pool, plan: Path, specs: Specs, cases: Cases
) -> None:
    ring, engine = ring_of(device, plan, specs, "auto")
    asked = [{name: pool.on(array) for name, array in tensors.items()} for tensors, _ in cases]
    block, filled = 1 << 36, list[int]()
    while block >= 1 << 24:
        try:
            filled.append(device.allocate(block))
        except CudaError as error:
            if error.status != OUT_OF_MEMORY:
                raise
            block //= 2
    try:
        for tensors, (_, expected) in zip(asked, cases, strict=True):
            answers = run_placed(ring, tensors, 0)
            assert all(near(pool.array(answers[name]), right) for name, right in expected.items())
            del answers
        with pytest.raises((OutOfMemoryError, ParameterError), match=r"there is no room"):
            ring_of(device, plan, specs, "auto", slots=64)
    finally:
        for pointer in filled:
            device.free(pointer)
    ring.close()
    engine.close()
