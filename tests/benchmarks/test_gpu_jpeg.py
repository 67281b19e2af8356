"""gpu_jpeg.py runs to its end with a made-up nvImageCodec, and says what it lacks, what differs and from which batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gpu_jpeg
import gpu_jpeg_ways as ways
import numpy as np
import pytest
from gpu_engine import Results

from tritonkit_runtime.device.host import Host

GAP_BYTES = 36  # behind each row


class Image:
    """As if it were in the memory of a GPU."""

    buffer_kind = "STRIDED_DEVICE"

    def __init__(self) -> None:
        self.rows = np.zeros((ways.HEIGHT, ways.WIDTH * 3 + GAP_BYTES), np.uint8)
        self.__cuda_array_interface__ = {
            "shape": (ways.HEIGHT, ways.WIDTH, 3), "strides": (self.rows.shape[1], 3, 1),
            "data": (self.rows.ctypes.data, False),
        }  # fmt: skip


class Decoder:
    def __init__(self, device_id: int, max_num_cpu_threads: int, backends: list[str] | None, options: str) -> None:
        if backends == ["GPU_ONLY"]:
            raise RuntimeError("no such backend")
        self.nothing, self.off = backends == ["HW_GPU_ONLY"], 2 if options == ":fancy_upsampling=1" else 0

    def decode(self, files: list[bytes], cuda_stream: int, images: list[Image] | None = None) -> list[Image | None]:
        if self.nothing:
            return [None for _ in files]
        found = images or [Image() for _ in files]
        for image, data in zip(found, files, strict=True):
            pixels = ways.decoded(data).reshape(ways.HEIGHT, -1)
            image.rows[:, :-GAP_BYTES] = pixels
            image.rows[0, 0] = pixels[0, 0] + self.off if pixels[0, 0] < 128 else pixels[0, 0] - self.off
        return list(found)


CODEC = SimpleNamespace(
    Decoder=Decoder, Backend=lambda kind: kind, CodeStream=lambda data: data,
    BackendKind=SimpleNamespace(**{name: name for name in ("HW_GPU_ONLY", "HYBRID_CPU_GPU", "GPU_ONLY")}),
)  # fmt: skip


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    monkeypatch.setattr(gpu_jpeg, "PHOTOS", 3)
    monkeypatch.setattr(gpu_jpeg, "THREADS", (1,))
    monkeypatch.setattr(ways, "ROUNDS", 2)
    monkeypatch.setattr(ways, "SLICE_S", 0.0)
    results = Results(tmp_path / "out.json", 60)

    def measured(codec: Any, without: tuple[str, ...] = ()) -> dict[str, Any]:
        gpu_jpeg.measured(results, Host(), codec, (1, 2), without)
        return results.data

    return measured


def test_all_of_it(run: Callable[..., dict[str, Any]]) -> None:
    data = run(CODEC, ("hybrid, 4 threads",))
    assert "failed" not in str(data), data
    assert data["settings"]["hardware"] == {"absent": "ValueError: 2 of 2 files are not decoded by this backend"}
    assert data["settings"]["GPU alone"] == {"absent": "RuntimeError: no such backend"}
    assert data["settings"]["hybrid, 4 threads"] == {"absent": "asked to leave it out"}
    assert data["settings"]["default"]["reuses"] is True
    assert data["pixels"]["hybrid"]["exact"] == 2, "rows with gaps are read as they lie"
    smooth = data["pixels"]["hybrid, smooth chroma"]
    assert (smooth["exact"], smooth["most_levels"]) == (0, 2)
    assert smooth["above_1_level"] == pytest.approx(1 / ways.ITEM_BYTES)
    timed = {"hybrid", "hybrid, smooth chroma", "hybrid, Huffman on the GPU", "default"}
    on_gpu = {ways.GPU + name for name in timed}
    assert set(data["times"]["gpu"]["2"]) == on_gpu | {"opencv: 1 thread"}
    assert set(data["times"]["cpu"]["2"]) == on_gpu | {"opencv: 1 thread", ways.STEP}
    assert all(len(value["ms"]) == 2 for value in data["times"]["gpu"]["2"].values()), "each once a round"
    assert data["verdict"]["gpu, 2"]["fastest_on_gpu"] in on_gpu


def test_without_nvimagecodec_opencv_is_measured_alone(run: Callable[..., dict[str, Any]]) -> None:
    data = run(None)
    assert set(data["times"]["gpu"]["1"]) == {"opencv: 1 thread"}
    assert data["verdict"]["gpu_wins_from"] == {"gpu": {"1": None}, "cpu": {"1": None}}


@pytest.mark.parametrize(
    ("ms", "expected"),
    [
        ({1: (1, 5, 5), 2: (1, 5, 5), 4: (1, 5, 5)}, {"1": 1, "2": 1}),
        ({1: (9, 5, 5), 2: (9, 5, 5), 4: (9, 9.9, 5)}, {"1": 4, "2": None}),
        ({1: (9, 5, 5), 2: (1, 5, 5), 4: (1, 5, 5)}, {"1": 2, "2": 2}),
    ],
)
def test_from_which_batch_on(ms: dict[int, tuple[float, float, float]], expected: dict[str, int | None]) -> None:
    names = (f"{ways.GPU}hybrid", ways.opencv(1), ways.opencv(2))
    times = {
        str(size): {
            name: {"ms": [value] * 3, "cpu_ms": [value] * 3}
            for name, value in zip(names, values, strict=True) if name != ways.opencv(2) or size > 1
        }
        for size, values in ms.items()
    }  # fmt: skip
    assert gpu_jpeg.verdict({"gpu": times}, (1, 2))["gpu_wins_from"]["gpu"] == expected
