"""A plan behind the ring on a real GPU."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ring_loads import answered_in_company, run_every_size

from tritonkit_runtime.batch import Tensors
from tritonkit_runtime.buffered.engine import BufferedEngine
from tritonkit_runtime.buffered.errors import ShapeError
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.ring import Copies, Ring
from tritonkit_runtime.buffered.slot import taken
from tritonkit_runtime.buffered.tensorrt import TensorRT
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.device.errors import OutOfMemoryError
from tritonkit_runtime.parameters import ParameterError, TensorSpec

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).resolve().parents[3]
SIZES = (1, 4, 16, 64)
Specs = tuple[list[TensorSpec], list[TensorSpec]]


def random(engine: BufferedEngine, items: int, seed: int) -> Tensors:
    lot = np.random.default_rng(seed)
    return {t.name: lot.standard_normal(t.shape(items, True), np.float32).astype(t.dtype) for t in engine.inputs}


@pytest.mark.parametrize("copies", ["inside", "beside", "auto"])
def test_everyone_gets_the_own_answer(device: Cuda, plan: Path, specs: Specs, copies: Copies) -> None:
    from generator.engine.compile.tensorrt.runner import loaded

    engine = TensorRT(device, plan, *specs, SIZES)
    ring = Ring(device, engine, SIZES, slots=3, copies=copies)
    with loaded(plan.read_bytes()) as runner:
        for tensors, answer in answered_in_company(ring, partial(random, engine), groups=12, seed=1):
            assert isinstance(answer, dict)
            for name, expected in runner.run(tensors).items():
                apart = np.abs(answer[name].astype(np.float64) - expected).max() / np.ptp(expected)
                assert apart < 0.01
    with pytest.raises(ShapeError, match="a batch of 65 items has no bucket; there are 1, 4, 16, 64"):
        ring.run(random(engine, 65, 0))
    ring.close()
    engine.close()


@pytest.mark.parametrize("copies", ["inside", "beside"])
def test_nothing_is_allocated_while_it_runs(device: Cuda, plan: Path, specs: Specs, copies: Copies) -> None:
    engine = TensorRT(device, plan, *specs, SIZES)
    ring = Ring(device, engine, SIZES, slots=3, copies=copies)
    before = device.memory()[0]
    run_every_size(ring, 200)
    assert device.memory()[0] == before
    ring.close()
    engine.close()


def test_copies_lie_beside_the_computing_of_neighbours(device: Cuda, plan: Path, specs: Specs) -> None:
    engine = TensorRT(device, plan, *specs, SIZES)
    ring = Ring(device, engine, (64,), slots=3, copies="beside", trace=True)
    under_way = deque[Lane]()
    for _ in range(20):
        if not ring.free:
            lane = under_way.popleft()
            ring.finish(lane)
            ring.give_back(lane)
        lane = ring.take()
        ring.start(lane, 64)
        under_way.append(lane)
    while under_way:
        ring.finish(under_way.popleft())
    beside = [
        b.copy_in_us[0] < a.compute_us[1] and b.compute_us[0] >= a.compute_us[1] - 1
        for a, b in pairwise(sorted(ring.spans))
    ]
    assert sum(beside) >= 15, ring.spans
    ring.close()
    engine.close()


def test_no_room_is_said(device: Cuda) -> None:
    with pytest.raises(OutOfMemoryError, match=r"no room for input x: it takes 4,398,046,511,104 bytes, and .* free"):
        taken(device, device.allocate, 1 << 42, "input x")
    device.free(device.allocate(1 << 20))


def test_a_plan_of_another_version_is_refused(device: Cuda, plan: Path, specs: Specs, tmp_path: Path) -> None:
    data = plan.read_bytes()
    (tmp_path / "old.plan").write_bytes(data[:24] + bytes([7, 1, 2, 0]) + data[28:])
    with pytest.raises(ParameterError, match=r"old\.plan was made by TensorRT 7\.1\.2, and here is"):
        TensorRT(device, tmp_path / "old.plan", *specs, SIZES)


def test_after_a_kernel_has_failed_nothing_is_answered(plan: Path, tmp_path: Path) -> None:
    """In a process of its own, which loses its GPU."""
    code = f"""
import os, sys
sys.path[:0] = [{str(ROOT / "benchmarks")!r}, {str(ROOT)!r}, {str(ROOT / "python_backend")!r}]
from pathlib import Path
import gpu_engine, gpu_engine_faults, gpu_engine_runs
from generator.engine.compile.tensorrt.runner import loaded
plan = Path({str(plan)!r})
with loaded(plan.read_bytes()) as runner:
    tensors = runner.tensors
device = gpu_engine.Counted()
inputs, outputs = gpu_engine.specs(tensors, True), gpu_engine.specs(tensors, False)
bench = gpu_engine_runs.Bench(device, plan, inputs, outputs, (1, 4))
found = gpu_engine_faults.seen(bench, device, plan.read_bytes(), inputs, outputs)["lost"]
print(found["status"], found["answers_afterwards"], found["said"]["run"], flush=True)
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    said = "[0, 0, 0] 0 BrokenError: this instance lost its GPU"  # among what TensorRT logs, on stdout too
    assert any(line.startswith(said) for line in done.stdout.splitlines()), done.stdout + done.stderr
