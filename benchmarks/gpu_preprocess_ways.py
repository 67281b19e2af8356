"""The ways from pixels to an engine's input that gpu_preprocess.py compares, and how they are timed."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
from _common import median, rounds
from gpu_preprocess_lanes import THREADS as COPYING
from gpu_preprocess_lanes import Lanes, name
from gpu_preprocess_pixels import RECIPES, OnGpu, chain, steps
from gpu_preprocess_torch import Torch

from tritonkit_runtime.batch import Array, Batch
from tritonkit_runtime.device import Kernels
from tritonkit_runtime.parameters import Limits
from tritonkit_runtime.steps.base import Images
from tritonkit_runtime.steps.decode import Decode

SEED, MOST_ROUNDS, SLICE_S = 1, 15, 0.025
Way = Callable[[int], None]  # (size of batch): runs one, to its end
Times = dict[str, dict[str, dict[str, list[float]]]]  # recipe -> size of batch -> way -> microseconds by round


def photographs(count: int, seed: int) -> list[Array]:
    """UINT8 [375, 500, 3] each: smooth colours with some noise."""
    lot = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        few = lot.integers(0, 256, (12, 16, 3), np.uint8)
        smooth = cv2.resize(few, (500, 375), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        found.append(np.clip(smooth + lot.normal(0, 9, smooth.shape), 0, 255).astype(np.uint8))
    return found


def encoded(image: Array) -> bytes:
    """A JPEG file of 40 to 50 kB."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise ValueError("OpenCV cannot write a JPEG")
    return bytes(data.tobytes())


class OnCpu:
    """The steps on the CPU into pinned memory, in as many parts as there are threads, and one copy to the GPU."""

    def __init__(self, device: Kernels, specs: Any, on_gpu: OnGpu, photos: Sequence[Array]) -> None:
        self.device, self.chain, self.photos = device, chain(specs), photos
        self.on_gpu = on_gpu
        self.item_bytes = int(np.prod(on_gpu.shape)) * on_gpu.dtype.itemsize
        self._host = device.pinned(len(photos) * self.item_bytes)
        raw = (ctypes.c_ubyte * (len(photos) * self.item_bytes)).from_address(self._host)
        self.staged: Array = np.ctypeslib.as_array(raw).view(on_gpu.dtype).reshape(len(photos), *on_gpu.shape)

    def part(self, images: Sequence[Array], start: int) -> None:
        """The rows from `start` on."""
        self.staged[start : start + len(images)] = self.chain(Batch({}, (len(images),)), Images(images, 3))

    def sent(self, size: int) -> None:
        """The rows to the GPU, and waits."""
        self.device.copy_in(self.on_gpu.pointer, self._host, size * self.item_bytes, self.on_gpu.stream)
        self.device.wait(self.on_gpu.stream)

    def on(self, threads: int) -> Way:
        """The way on so many threads."""
        pool = ThreadPoolExecutor(threads) if threads > 1 else None

        def way(size: int) -> None:
            if pool is None:
                self.part(self.photos[:size], 0)
            else:
                share = -(-size // threads)
                starts = range(0, size, share)
                list(pool.map(lambda start: self.part(self.photos[start : min(size, start + share)], start), starts))
            self.sent(size)

        return way


class Bench:
    """All ways, by recipe, on one device."""

    def __init__(
        self, device: Kernels, photos: Sequence[Array], sizes: Sequence[int], threads: Sequence[int]
    ) -> None:
        self.device, self.photos, self.sizes, self.threads = device, photos, sizes, threads
        self.loading: dict[str, Any] = {}
        self.ways: dict[str, dict[str, Way]] = {}
        self.on_gpu: dict[str, OnGpu] = {}
        self.on_cpu: dict[str, OnCpu] = {}
        for recipe in RECIPES:
            started = time.perf_counter()
            gpu = self.on_gpu[recipe] = OnGpu(device, steps(recipe), len(photos))
            cpu = self.on_cpu[recipe] = OnCpu(device, steps(recipe), gpu, photos)
            self.loading[recipe] = {
                "loaded_s": time.perf_counter() - started, "compiled_s": gpu.kernel.compiled_s,
                "staging_bytes": gpu.staging.size_bytes,
            }  # fmt: skip
            counts = threads if recipe == "fp32" else [count for count in threads if count in {1, 4, 16}]
            self.ways[recipe] = {f"cpu, {count} thread{'s' * (count > 1)}": cpu.on(count) for count in counts}
            self.ways[recipe]["kernel"] = self._kernel(gpu)
        self._add_lanes()
        self._add_files()

    def _kernel(self, gpu: OnGpu) -> Way:
        return lambda size: gpu.run(self.photos[:size])

    def _add_lanes(self) -> None:
        """The kernel, with its copy to pinned memory on several threads."""
        for recipe, gpu in self.on_gpu.items():
            if recipe in COPYING:
                lanes = Lanes(self.device, gpu, self.photos, self.sizes)
                self.ways[recipe] |= {name(count): self._on_lanes(lanes, count) for count in COPYING[recipe]}

    def _on_lanes(self, lanes: Lanes, threads: int) -> Way:
        pool = ThreadPoolExecutor(threads)
        return lambda size: lanes.run(pool, size)

    def _add_files(self) -> None:
        """From JPEG files, decoded one after the other in one thread, as an instance of the server does it."""
        files, decode = [encoded(image) for image in self.photos], Decode(to="rgb", limits=Limits())
        gpu, cpu = self.on_gpu["fp32"], self.on_cpu["fp32"]

        def with_kernel(size: int) -> None:
            gpu.staging.clear()
            for number, data in enumerate(files[:size]):
                gpu.staging.add(decode.decode(data), size - number - 1)
            gpu.staging.copy_in(gpu.stream)
            gpu.staging.put(size, gpu.stream)
            self.device.wait(gpu.stream)

        def with_steps(size: int) -> None:
            images = Images((decode.decode(data) for data in files[:size]), 3)
            cpu.staged[:size] = cpu.chain(Batch({}, (size,)), images)
            cpu.sent(size)

        def alone(size: int) -> None:
            for data in files[:size]:
                decode.decode(data)

        self.ways["fp32 from JPEG"] = {"cpu, 1 thread": with_steps, "kernel": with_kernel, "decoding alone": alone}

    def expected(self, recipe: str = "fp32") -> Array:
        """What the photographs become on the CPU."""
        made: Array = self.on_cpu[recipe].chain(Batch({}, (len(self.photos),)), Images(self.photos, 3))
        return made

    def parts(self) -> dict[str, Any]:
        """Microseconds of the kernel's way by part: staging by the host's clock, copy and kernel by the GPU's."""
        start, copied, done = (self.device.event() for _ in range(3))
        found: dict[str, Any] = {}
        for recipe, gpu in self.on_gpu.items():
            for size in self.sizes:
                times: dict[str, list[float]] = {"staging_us": [], "copy_us": [], "kernel_us": []}
                for _ in range(9):
                    began = time.perf_counter()
                    gpu.stage(self.photos[:size])
                    times["staging_us"].append((time.perf_counter() - began) * 1e6)
                    self.device.record(start, gpu.stream)
                    gpu.staging.copy_in(gpu.stream)
                    self.device.record(copied, gpu.stream)
                    gpu.staging.put(size, gpu.stream)
                    self.device.record(done, gpu.stream)
                    self.device.wait(gpu.stream)
                    times["copy_us"].append(self.device.between_us(start, copied))
                    times["kernel_us"].append(self.device.between_us(copied, done))
                found[f"{recipe}, {size}"] = {name: median(values) for name, values in times.items()}
        return found

    def times(self, torch: Torch | None, left_s: Callable[[], float]) -> Times:
        """Microseconds a batch of every way: each once a round in a new order, as long as there is time."""
        cases = [(recipe, name, size) for recipe, by in self.ways.items() for name in by for size in self.sizes]
        if torch is not None:
            cases += [("fp32", "torch", size) for size in self.sizes]
        counts = {case: self._count(torch, *case) for case in cases}
        found: Times = {
            recipe: {str(size): {} for size in self.sizes} for recipe in self.ways
        }  # fmt: skip
        for number, case in rounds(cases, MOST_ROUNDS, SEED):
            if left_s() <= 0 and number > 2:
                break
            recipe, name, size = case
            value = self._timed(torch, recipe, name, size, counts[case])
            found[recipe][str(size)].setdefault(name, []).append(value)
        return found

    def _count(self, torch: Torch | None, recipe: str, name: str, size: int) -> int:
        """Batches that fit into a slice of time; the first ones are not counted."""
        self._timed(torch, recipe, name, size, 2)
        return max(2, min(500, int(SLICE_S * 1e6 / self._timed(torch, recipe, name, size, 1))))

    def _timed(self, torch: Torch | None, recipe: str, name: str, size: int, count: int) -> float:
        if name == "torch" and torch is not None:
            return torch.timed_us(size, count)
        way = self.ways[recipe][name]
        started = time.perf_counter()
        for _ in range(count):
            way(size)
        return (time.perf_counter() - started) / count * 1e6


def verdict(times: Times) -> dict[str, Any]:
    """By recipe and size of batch: the medians, and how often faster the kernel is than each other way, by round."""
    found: dict[str, Any] = {}
    for recipe, by_size in times.items():
        for size, by_way in by_size.items():
            kernel = by_way["kernel"]
            ratios = {
                name: median(other / own for other, own in zip(values, kernel, strict=False))
                for name, values in by_way.items() if name != "kernel"
            }  # fmt: skip
            found[f"{recipe}, {size}"] = {
                "us": {name: median(values) for name, values in by_way.items()},
                "times_as_long_as_the_kernel": ratios,
                "kernel_wins_against": [name for name, ratio in ratios.items() if ratio["low"] > 1],
            }  # fmt: skip
    return found
