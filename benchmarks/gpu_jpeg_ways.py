"""The ways from JPEG files to pixels that gpu_jpeg.py compares, and how they are timed."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from _common import rounds

from tritonkit_runtime.batch import Array
from tritonkit_runtime.parameters import Limits
from tritonkit_runtime.steps.decode import Decode

SEED, ROUNDS, SLICE_S = 1, 9, 0.015
HEIGHT, WIDTH = 375, 500
ITEM_BYTES, SLOT_BYTES = HEIGHT * WIDTH * 3, 1 << 20  # a slot has room for rows with gaps
GPU, CPU, STEP = "nvimgcodec: ", "opencv: ", "opencv: decode step, 1 thread"
SIDES = ("gpu", "cpu")  # where the pixels are wanted
_AWAKE_US = 100.0  # the wait for the GPU asks for so long before it sleeps, as sleeping costs time and asking the CPU
Way = Callable[[Sequence[bytes]], None]  # runs one batch, to its end
Times = dict[str, dict[str, dict[str, dict[str, list[float]]]]]  # side -> size -> way -> ms or cpu_ms by round


@dataclass(frozen=True)
class Setting:
    """What nvImageCodec's decoder is made with."""

    kinds: tuple[str, ...] = ()  # of its backends; none: all that it has
    threads: int = 0  # of the CPU; 0: as many as there are cores
    options: str = ""


_SMOOTH = ":fancy_upsampling=1"  # chroma is interpolated, as libjpeg does it
SETTINGS = {
    "hardware": Setting(("HW_GPU_ONLY",)),
    "hardware, 4 threads": Setting(("HW_GPU_ONLY",), threads=4),
    "hardware, 1 thread": Setting(("HW_GPU_ONLY",), threads=1),
    "hardware, smooth chroma": Setting(("HW_GPU_ONLY",), options=_SMOOTH),
    "hybrid": Setting(("HYBRID_CPU_GPU",)),
    "hybrid, smooth chroma": Setting(("HYBRID_CPU_GPU",), options=_SMOOTH),
    "hybrid, 4 threads": Setting(("HYBRID_CPU_GPU",), threads=4),
    "hybrid, Huffman on the GPU": Setting(
        ("HYBRID_CPU_GPU",), options="nvjpeg_cuda_decoder:hybrid_huffman_threshold=0"
    ),
    "GPU alone": Setting(("GPU_ONLY",)),
    "default": Setting(),
}


def opencv(threads: int) -> str:
    """The name of OpenCV's way."""
    return f"{CPU}{threads} thread{'s' * (threads > 1)}"


def decoded(data: bytes) -> Array:
    """One file by OpenCV, to RGB."""
    image: Array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return image


class Side:
    """A stream, its pinned memory and the GPU's, with a slot for each image of a batch."""

    def __init__(self, device: Any, largest: int) -> None:
        self.device, self.stream, self._event = device, device.stream(), device.event()
        self._host = device.pinned(largest * SLOT_BYTES)
        self._pointer = device.allocate(largest * ITEM_BYTES)
        raw = (ctypes.c_ubyte * (largest * SLOT_BYTES)).from_address(self._host)
        self.slots: Array = np.ctypeslib.as_array(raw).reshape(largest, SLOT_BYTES)
        # Close to one another, for one copy.
        self.staged: Array = self.slots.reshape(-1)[: largest * ITEM_BYTES].reshape(largest, HEIGHT, WIDTH, 3)

    def wait(self) -> None:
        """Until the stream is done."""
        self.device.record(self._event, self.stream)
        self.device.wait_for(self._event, _AWAKE_US)

    def send(self, size: int) -> None:
        """The staged images to the GPU."""
        self.device.copy_in(self._pointer, self._host, size * ITEM_BYTES, self.stream)
        self.wait()

    def fetch(self, images: Sequence[Any]) -> list[Array]:
        """Decoded images from the GPU into pinned memory."""
        rows = []
        for number, image in enumerate(images):
            told = image.__cuda_array_interface__
            row = int((told.get("strides") or (WIDTH * 3,))[0])
            if tuple(told["shape"]) != (HEIGHT, WIDTH, 3) or row * HEIGHT > SLOT_BYTES:
                raise ValueError(f"an image of {told['shape']} with rows of {row} bytes")
            self.device.copy_out(self._host + number * SLOT_BYTES, told["data"][0], row * HEIGHT, self.stream)
            rows.append(self.slots[number, : row * HEIGHT].reshape(HEIGHT, row))
        self.wait()
        return [one[:, : WIDTH * 3].reshape(HEIGHT, WIDTH, 3) for one in rows]


class OnGpu:
    """nvImageCodec with one setting. Images that were decoded into once are decoded into again, as a server would."""

    def __init__(self, codec: Any, setting: Setting, side: Side) -> None:
        kinds = [codec.Backend(getattr(codec.BackendKind, kind)) for kind in setting.kinds]
        self.codec, self.side = codec, side
        self.decoder = codec.Decoder(
            device_id=0, max_num_cpu_threads=setting.threads, backends=kinds or None, options=setting.options
        )
        self.reuses = True
        self._kept: list[Any] = []

    def images(self, files: Sequence[bytes]) -> list[Any]:
        """Decoded, once the stream is done. ValueError where one is not, or not on the GPU."""
        streams = [self.codec.CodeStream(data) for data in files]
        kept = {"images": self._kept[: len(files)]} if self.reuses and len(self._kept) >= len(files) else {}
        found = self.decoder.decode(streams, cuda_stream=self.side.stream, **kept)
        missing = sum(image is None for image in found)
        if missing:
            raise ValueError(f"{missing} of {len(files)} files are not decoded by this backend")
        if len(found) > len(self._kept):
            self._kept = list(found)
        return list(found)

    def probe(self, files: Sequence[bytes]) -> dict[str, Any]:
        """Whether it decodes, where to, and whether into the same memory again."""
        started = time.perf_counter()
        kinds = sorted({str(image.buffer_kind) for image in self.images(files)})
        self.side.wait()
        first_s = time.perf_counter() - started
        try:
            self.images(files)
            self.side.wait()
        except (TypeError, RuntimeError, ValueError) as error:
            self.reuses, why = False, f"{type(error).__name__}: {error}"
            self.images(files)
            self.side.wait()
            return {"memory": kinds, "first_s": first_s, "reuses": why}
        return {"memory": kinds, "first_s": first_s, "reuses": True}

    def to_gpu(self, files: Sequence[bytes]) -> None:
        """Pixels in the GPU's memory."""
        self.images(files)
        self.side.wait()

    def to_cpu(self, files: Sequence[bytes]) -> None:
        """Pixels in pinned memory."""
        self.side.fetch(self.images(files))


class OnCpu:
    """OpenCV in so many threads; each image is one task."""

    def __init__(self, threads: int, side: Side) -> None:
        self.side = side
        self._map: Callable[..., Any] = ThreadPoolExecutor(threads).map if threads > 1 else map

    def _put(self, number: int, data: bytes) -> None:
        self.side.staged[number] = decoded(data)

    def to_cpu(self, files: Sequence[bytes]) -> None:
        """Pixels in ordinary memory."""
        list(self._map(decoded, files))

    def to_gpu(self, files: Sequence[bytes]) -> None:
        """Pixels in the GPU's memory: through pinned memory, in one copy."""
        list(self._map(self._put, range(len(files)), files))
        self.side.send(len(files))


class Bench:
    """All ways, by the side on which the pixels are wanted."""

    def __init__(self, device: Any, files: Sequence[bytes], sizes: Sequence[int], threads: Sequence[int]) -> None:
        cv2.setNumThreads(1)
        self.files, self.sizes = [*files, *files[: max(sizes)]], sizes
        self._count, self._at = len(files), 0
        self.side = Side(device, max(sizes))
        self.on_gpu: dict[str, OnGpu] = {}
        self.left_out: dict[str, str] = {}
        self.ways: dict[str, dict[str, tuple[int, Way]]] = {side: {} for side in SIDES}  # with the least batch
        for count in threads:
            way = OnCpu(count, self.side)
            self.ways["cpu"][opencv(count)] = count, way.to_cpu
            self.ways["gpu"][opencv(count)] = count, way.to_gpu
        step = Decode(to="rgb", limits=Limits())

        def by_step(files: Sequence[bytes]) -> None:
            for data in files:
                step.decode(data)

        self.ways["cpu"][STEP] = 1, by_step

    def add(self, codec: Any, without: Sequence[str] = ()) -> dict[str, Any]:
        """nvImageCodec's ways, and of each setting how it began, or why it is left out."""
        found: dict[str, Any] = {}
        for name, setting in SETTINGS.items():
            if name in without:
                found[name] = {"absent": "asked to leave it out"}
                continue
            try:
                way = OnGpu(codec, setting, self.side)
                found[name] = way.probe(self.files[: max(self.sizes)])
                self.side.fetch(way.images(self.files[:1]))
            except Exception as error:  # noqa: BLE001 — whatever a backend says, the others are measured
                found[name] = {"absent": f"{type(error).__name__}: {error}"}
                continue
            self.on_gpu[name] = way
            self.ways["gpu"][GPU + name] = 1, way.to_gpu
            self.ways["cpu"][GPU + name] = 1, way.to_cpu
        return found

    def pixels(self) -> dict[str, Any]:
        """By setting: how far its pixels are from OpenCV's, in levels of 255, over a batch of the largest size."""
        files = self.files[: max(self.sizes)]
        expected = [decoded(data) for data in files]
        found: dict[str, Any] = {}
        for name, way in self.on_gpu.items():
            made = way.side.fetch(way.images(files))
            apart = [np.abs(a.astype(np.int16) - b) for a, b in zip(made, expected, strict=True)]
            counts = np.bincount(np.concatenate([one.ravel() for one in apart]), minlength=256)
            total = int(counts.sum())
            found[name] = {
                "images": len(files), "exact": sum(not one.any() for one in apart),
                "most_levels": int(counts.nonzero()[0].max()),
                "mean_levels": float((counts * np.arange(len(counts))).sum() / total),
                "above_1_level": float(counts[2:].sum() / total), "above_4_levels": float(counts[5:].sum() / total),
                "above_16_levels": float(counts[17:].sum() / total),
            }  # fmt: skip
        return found

    def times(self, left_s: Callable[[], float]) -> Times:
        """Milliseconds a batch, by the clock and of CPU time: every case once a round, in a new order each."""
        counts: dict[tuple[str, str, int], int] = {}
        for side, by_name in self.ways.items():
            for name, (least, way) in by_name.items():
                for size in (size for size in self.sizes if size >= least):
                    try:
                        self._timed(way, size, 1)
                        counts[side, name, size] = max(1, min(100, int(SLICE_S * 1e3 / self._timed(way, size, 1)[0])))
                    except Exception as error:  # noqa: BLE001 — the other cases are measured
                        self.left_out[f"{side}, {name}, {size}"] = f"{type(error).__name__}: {error}"
        found: Times = {side: {str(size): {} for size in self.sizes} for side in SIDES}
        for number, (side, name, size) in rounds(list(counts), ROUNDS, SEED):
            if left_s() <= 0 and number > 2:
                break
            ms, cpu_ms = self._timed(self.ways[side][name][1], size, counts[side, name, size])
            values = found[side][str(size)].setdefault(name, {"ms": [], "cpu_ms": []})
            values["ms"].append(ms)
            values["cpu_ms"].append(cpu_ms)
        return found

    def _timed(self, way: Way, size: int, count: int) -> tuple[float, float]:
        """Of so many batches, each of the next files."""
        batches = []
        for _ in range(count):
            batches.append(self.files[self._at : self._at + size])
            self._at = (self._at + size) % self._count
        started, used = time.perf_counter(), time.process_time()
        for batch in batches:
            way(batch)
        ended = time.perf_counter()
        return (ended - started) / count * 1e3, (time.process_time() - used) / count * 1e3
