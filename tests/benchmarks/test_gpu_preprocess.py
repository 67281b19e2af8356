"""gpu_preprocess.py runs to its end on a made-up GPU, compares what it should, and says when pixels differ."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gpu_preprocess
import gpu_preprocess_pixels
import gpu_preprocess_ways
import pytest
from fake_gpu import FakeGpu
from gpu_engine import Results
from plain import compiled


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    """A GPU whose kernels g++ has compiled, and fewer cases than the benchmark has."""
    monkeypatch.setattr("tritonkit_runtime.preprocess.nvrtc.compiled", lambda s, o, **_: compiled(s, o))
    monkeypatch.setattr(gpu_preprocess, "THREADS", (1, 2))
    monkeypatch.setattr(gpu_preprocess_ways, "SLICE_S", 0.0)
    monkeypatch.setattr(gpu_preprocess_ways, "MOST_ROUNDS", 2)
    monkeypatch.setattr(gpu_preprocess_ways, "RECIPES", ("uint8", "fp32"))
    return FakeGpu(seed=None)


def test_all_of_it(device: FakeGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_preprocess.pixels, "equal", lambda _: {"passed": True})
    results = Results(tmp_path / "out.json", 60)
    gpu_preprocess.measured(results, device, sys.executable, (1, 2))
    data = results.data
    assert "failed" not in str(data), data
    assert data["torch"]["absent"].startswith("ModuleNotFoundError"), "there is no PyTorch here"
    assert set(data["verdict"]) == {f"{r}, {n}" for r in ("uint8", "fp32", "fp32 from JPEG") for n in (1, 2)}
    assert set(data["verdict"]["fp32, 2"]["us"]) == {"cpu, 1 thread", "cpu, 2 threads", "kernel"}
    assert all(len(v) == 2 for v in data["times"]["fp32"]["2"].values()), "each once a round"
    assert gpu_preprocess.passed(data)


def test_every_way_makes_the_same(device: FakeGpu) -> None:
    photos = gpu_preprocess_ways.photographs(3, seed=1)
    bench = gpu_preprocess_ways.Bench(device, photos, (3,), (1, 2))
    expected = bench.expected()
    for name, way in bench.ways["fp32"].items():
        device.zero(bench.on_gpu["fp32"].pointer, expected.nbytes, bench.on_gpu["fp32"].stream)
        way(3)
        assert (bench.on_gpu["fp32"].made(3) == expected).all(), name


@pytest.mark.parametrize(("off", "passed"), [(0, True), (1, True), (2, False)])
def test_pixels_that_differ_fail_it(device: FakeGpu, monkeypatch: pytest.MonkeyPatch, off: int, passed: bool) -> None:
    plain = gpu_preprocess_pixels.OnGpu.made

    def made(self: Any, items: int) -> Any:
        found = plain(self, items)
        if found.dtype.name == "uint8":
            found.flat[0] = found.flat[0] + off if found.flat[0] < 128 else found.flat[0] - off
        return found

    monkeypatch.setattr(gpu_preprocess_pixels.OnGpu, "made", made)
    found = gpu_preprocess_pixels.equal(device, count=2)
    assert (found["most_levels"], found["passed"]) == (off, passed)
    assert found["exact"] == found["images"] - (12 if off else 0)
    assert gpu_preprocess.passed({"equal": found, "verdict": {}}) == passed
