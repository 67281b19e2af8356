"""gpu_preprocess.py runs to its end on a made-up GPU, compares what it should, and says when pixels differ."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import cv2
import gpu_preprocess
import gpu_preprocess_cvcuda
import gpu_preprocess_pixels
import gpu_preprocess_ways
import numpy as np
import pytest
from fake_gpu import FakeGpu
from gpu_engine import Results
from plain import compiled

from tritonkit_runtime.batch import Array


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
    assert data["cvcuda"]["absent"].startswith("ModuleNotFoundError"), "nor CV-CUDA"
    copied = "kernel, copied on 4 threads"
    assert set(data["verdict"]["fp32, 2"]["us"]) == {"cpu, 1 thread", "cpu, 2 threads", "kernel", copied}
    assert all(len(v) == 2 for v in data["times"]["fp32"]["2"].values()), "each once a round"
    assert gpu_preprocess.passed(data)


def test_every_way_makes_the_same(device: FakeGpu) -> None:
    photos = gpu_preprocess_ways.photographs(9, seed=1)
    bench = gpu_preprocess_ways.Bench(device, photos, (9,), (1, 2))
    for recipe in ("uint8", "fp32"):
        expected = bench.expected(recipe)
        for name, way in bench.ways[recipe].items():
            for _ in range(2):
                device.zero(bench.on_gpu[recipe].pointer, expected.nbytes, bench.on_gpu[recipe].stream)
                way(9)
                assert (bench.on_gpu[recipe].made(9) == expected).all(), name


def test_a_copy_on_several_threads_is_cut_into_parts(device: FakeGpu) -> None:
    photos = gpu_preprocess_ways.photographs(9, seed=1)
    bench = gpu_preprocess_ways.Bench(device, photos, (1, 7, 9), (1,))
    for size, parts in ((1, [1]), (7, [7]), (9, [5, 4])):
        device.launches.clear()
        bench.ways["uint8"]["kernel, copied on 2 threads"](size)
        assert [launch.grid[0] for launch in device.launches] == parts


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


def test_with_cvcuda(device: FakeGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cvcuda", cast(ModuleType, FakeCvCuda(device)))
    monkeypatch.setattr(gpu_preprocess.pixels, "equal", lambda _: {"passed": True})
    results = Results(tmp_path / "out.json", 60)
    gpu_preprocess.measured(results, device, "", (1, 2))
    data = results.data
    assert "failed" not in str(data), data
    assert data["cvcuda"]["version"] == "0.0"
    told = data["cvcuda"]["ways"]
    assert len(told) == 4
    assert all(way["passed"] and way["most_levels"] <= 1.01 for way in told.values()), told
    for recipe in ("uint8", "fp32"):
        names = {way for way in data["verdict"][f"{recipe}, 2"]["us"] if way.startswith("cvcuda")}
        assert names == {name.removeprefix(f"{recipe}, ") for name in told if name.startswith(recipe)}
    assert gpu_preprocess.passed(data)


@pytest.mark.parametrize(("fault", "said"), [("raises", "no such operator"), ("off", "")])
def test_an_operator_that_fails_is_told_and_left_out(
    device: FakeGpu, monkeypatch: pytest.MonkeyPatch, fault: str, said: str
) -> None:
    package = FakeCvCuda(device)

    def normalize_into(into: Any, *_: Any, stream: int) -> None:
        if fault == "raises":
            raise RuntimeError(said)
        package.put(stream, lambda: into.array.fill(7))

    monkeypatch.setattr(package, "normalize_into", normalize_into)
    bench = gpu_preprocess_ways.Bench(device, gpu_preprocess_ways.photographs(2, seed=1), (1, 2), (1,))
    told = gpu_preprocess_cvcuda.added(package, bench)["ways"]
    name = "cvcuda: resize_crop_convert_reformat, normalize"
    assert not told[f"fp32, {name}"].get("passed")
    assert said in told[f"fp32, {name}"].get("absent", "")
    assert name not in bench.ways["fp32"]
    assert "cvcuda: resize, crop_flip_normalize_reformat" in bench.ways["fp32"]


def test_pixels_are_compared_in_levels() -> None:
    zeros = np.zeros((1, 3, 2, 2), np.float32)
    one_off = zeros.copy()
    one_off[0, 0, 0, 0] = 2 / gpu_preprocess_pixels.STD[0]
    found = gpu_preprocess_cvcuda.compared(one_off, zeros)
    assert found["most_levels"] == pytest.approx(2)
    assert found["mean_levels"] == pytest.approx(2 / 12)
    assert (found["above_1_level"], found["passed"]) == (1 / 12, True)
    assert not gpu_preprocess_cvcuda.compared(np.ones((2, 2), np.uint8), np.zeros((2, 2), np.uint8))["passed"]


@dataclass
class Memory:
    """An image or a tensor of the made-up package."""

    array: Array
    layout: str = ""


class FakeCvCuda:
    """What is used of CV-CUDA, by OpenCV. Operators run when their turn in the stream comes, as on a GPU."""

    __version__ = "0.0"
    Format, Interp = SimpleNamespace(RGB8="rgb8"), SimpleNamespace(LINEAR="linear")
    NormalizeFlags, Type = SimpleNamespace(SCALE_IS_STDDEV=1), SimpleNamespace(F32=np.float32)

    def __init__(self, device: FakeGpu) -> None:
        self.device = device

    def put(self, stream: int, compute: Callable[[], None]) -> None:
        self.device.kernel(stream, compute)

    def as_stream(self, handle: int) -> int:
        return handle

    @staticmethod
    def _memory(lent: Any) -> Array:
        told = lent.__cuda_array_interface__
        size = int(np.prod(told["shape"])) * np.dtype(told["typestr"]).itemsize
        raw = (ctypes.c_ubyte * size).from_address(told["data"][0])
        return np.ctypeslib.as_array(raw).view(told["typestr"]).reshape(told["shape"])

    def as_tensor(self, lent: Any, layout: str) -> Memory:
        assert len(layout) == len(lent.__cuda_array_interface__["shape"])
        return Memory(self._memory(lent), layout)

    def as_image(self, lent: Any, kind: str) -> Memory:
        assert kind == "rgb8"
        return Memory(self._memory(lent))

    def Image(self, size: tuple[int, int], kind: str) -> Memory:  # noqa: N802 — the package's name
        assert kind == "rgb8"
        return Memory(np.zeros((size[1], size[0], 3), np.uint8))

    def Tensor(self, shape: tuple[int, ...], dtype: Any, layout: str) -> Memory:  # noqa: N802
        return Memory(np.zeros(shape, dtype), layout)

    class ImageBatchVarShape(list[Memory]):
        def __init__(self, capacity: int) -> None:
            super().__init__()
            self.capacity = capacity

        def pushback(self, images: list[Memory]) -> None:
            self.extend(images)
            assert len(self) <= self.capacity

    @staticmethod
    def _resized(image: Memory, size: tuple[int, int]) -> Array:
        return np.asarray(cv2.resize(image.array, size, interpolation=cv2.INTER_LINEAR))

    def resize_into(self, into: list[Memory], images: list[Memory], interp: str, *, stream: int) -> None:
        assert interp == "linear"

        def compute() -> None:
            for made, image in zip(into, images, strict=True):
                made.array[...] = self._resized(image, made.array.shape[1::-1])

        self.put(stream, compute)

    def resize_crop_convert_reformat_into(
        self,
        into: Memory,
        images: list[Memory],
        size: tuple[int, int],
        interp: str,
        at: tuple[int, int],
        *,
        stream: int,
    ) -> None:
        assert (interp, at) == ("linear", (0, 0))

        def compute() -> None:
            for row, image in zip(into.array, images, strict=True):
                made = self._resized(image, size)
                row[...] = made if into.layout == "NHWC" else made.transpose(2, 0, 1)

        self.put(stream, compute)

    def normalize_into(self, into: Memory, given: Memory, base: Any, scale: Any, flags: int, *, stream: int) -> None:
        assert flags == 1
        mean, std = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (base, scale))
        self.put(stream, lambda: into.array.__setitem__(..., (given.array - mean) / std))

    def crop_flip_normalize_reformat_into(
        self, into: Memory, images: list[Memory], rect: Memory, flip: Memory, base: Memory, scale: Memory, *,
        flags: int, stream: int,
    ) -> None:  # fmt: skip
        assert flags == 1
        assert rect.array.shape == (len(images), 1, 1, 4)
        assert (rect.array == (0, 0, 224, 224)).all()
        assert flip.array.shape == (len(images), 1)
        assert (flip.array == 2).all()

        def compute() -> None:
            for row, image in zip(into.array, images, strict=True):
                row[...] = ((image.array - base.array[0]) / scale.array[0]).transpose(2, 0, 1)

        self.put(stream, compute)
