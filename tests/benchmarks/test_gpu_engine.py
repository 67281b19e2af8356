"""Every way that the GPU benchmark of the ring compares runs, on a device that is made up."""

from __future__ import annotations

import sys
from pathlib import Path

import gpu_engine_runs
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "python_backend" / "buffered"))
from fake_device import FakeDevice
from fake_engine import FakeEngine

SIZE, BATCHES = 8, 5


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> gpu_engine_runs.Bench:
    monkeypatch.setattr(gpu_engine_runs, "TensorRT", lambda device, *_: FakeEngine(device))
    return gpu_engine_runs.Bench(FakeDevice(), Path("a.plan"), [], [], (1, SIZE))


def test_every_way_runs_its_batches(bench: gpu_engine_runs.Bench) -> None:
    ways = {
        "plain": bench.run_plain, "alone": bench.run_alone, "two": bench.run_alone_twice, "one": bench.run_alone_one,
        **{f"ring {copies}": bench.run_ring(copies, 2) for copies in gpu_engine_runs.WAYS},
        **{f"requests {copies}": bench.run_requests(copies, 2) for copies in gpu_engine_runs.WAYS},
    }  # fmt: skip
    assert isinstance(bench.engine, FakeEngine)
    for name, way in ways.items():
        before = len(bench.engine.ran)
        way(SIZE, BATCHES)
        assert len(bench.engine.ran) - before == BATCHES, name


def test_alone_copies_nothing_and_plain_copies_with_every_batch(bench: gpu_engine_runs.Bench) -> None:
    device = bench.device
    assert isinstance(device, FakeDevice)
    for way, copies in ((bench.run_alone_one, 0), (bench.run_plain, 2 * BATCHES)):  # two inputs
        before = device.counts["copy_in"]
        way(SIZE, BATCHES)
        assert device.counts["copy_in"] - before == copies
