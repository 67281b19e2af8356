"""Claim: from which batch on a GPU decodes JPEG files sooner than so many threads of the CPU, and what each costs.

    python3 benchmarks/gpu_jpeg.py --out FILE     on a machine with a GPU, numpy, OpenCV and nvImageCodec

256 photographs of 500x375 pixels, files of some 57 kB, at batches of 1 to 128, to RGB of 8 bits, interleaved. By
nvImageCodec with each backend it offers; by OpenCV on 1 to 28 threads. Each once for a pipeline on the GPU (pixels
in its memory) and once for one on the CPU (pixels in the host's): who decodes on the other side copies.

Pixels are compared with OpenCV's first, in levels of 255; a difference is told and fails nothing, as decoders may
differ. Every way, size and side is timed once a round, in a new order each. FILE is written after every step. It ends
after --budget seconds, whatever happens. --without NAME leaves a setting of nvImageCodec out.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import os
import platform
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python_backend"))

import gpu_code
import gpu_jpeg_ways as ways
from _common import median
from gpu_engine import Results
from gpu_preprocess_ways import encoded, photographs

from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.device.errors import CudaError

PHOTOS, SIZES, THREADS = 256, (1, 2, 4, 8, 16, 32, 64, 128), (1, 2, 4, 8, 16, 28)
_RESERVE_S = 12.0  # of the budget, for what comes after the timing


def nvimgcodec() -> Any:
    """The package. ImportError where it, or what it needs, is missing."""
    return importlib.import_module("nvidia.nvimgcodec")


def facts(device: Any, codec: Any) -> dict[str, Any]:
    """What it takes to compare the figures with others."""
    import cv2
    import numpy as np

    built = [line.strip() for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("JPEG:")]
    return {
        **device.facts(), "python": platform.python_version(), "numpy": np.__version__, "opencv": cv2.__version__,
        "opencv_jpeg": built, "nvimgcodec": getattr(codec, "__version__", None),
        "nvimgcodec_cuda": str(getattr(codec, "__cuda_version__", None)),
        "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg(),
    }  # fmt: skip


def files() -> list[bytes]:
    """The photographs as files."""
    return [encoded(photo) for photo in photographs(PHOTOS, seed=1)]


def verdict(times: ways.Times, threads: tuple[int, ...]) -> dict[str, Any]:
    """By side and size: medians, and how long OpenCV takes of what nvImageCodec's fastest setting takes, by round."""
    found: dict[str, Any] = {}
    for side, by_size in times.items():
        for size, by_way in by_size.items():
            ms = {name: median(value["ms"]) for name, value in by_way.items()}
            part = found[f"{side}, {size}"] = {
                "ms": ms,
                "images_per_s": {name: int(size) / value["median"] * 1000 for name, value in ms.items()},
                "cpu_ms_per_image": {
                    name: median(one / int(size) for one in value["cpu_ms"]) for name, value in by_way.items()
                },
            }
            on_gpu = [name for name in ms if name.startswith(ways.GPU)]
            if on_gpu:
                part |= _compared(by_way, min(on_gpu, key=lambda name: ms[name]["median"]))
    return {**found, "gpu_wins_from": {side: _split(found, side, times[side], threads) for side in times}}


def _compared(by_way: dict[str, dict[str, list[float]]], fastest: str) -> dict[str, Any]:
    own = by_way[fastest]["ms"]
    ratios = {
        name: median(other / one for other, one in zip(value["ms"], own, strict=False))
        for name, value in by_way.items() if name.startswith(ways.CPU)
    }  # fmt: skip
    return {
        "fastest_on_gpu": fastest, "times_as_long_as_the_fastest_on_gpu": ratios,
        "gpu_wins_against": [name for name, ratio in ratios.items() if ratio["low"] > 1],
        "gpu_loses_against": [name for name, ratio in ratios.items() if ratio["high"] < 1],
    }  # fmt: skip


def _split(found: dict[str, Any], side: str, by_size: dict[str, Any], threads: tuple[int, ...]) -> dict[str, Any]:
    """Threads -> the smallest batch from which on nvImageCodec is faster at every larger one; None: at none."""
    split: dict[str, Any] = {}
    for count in threads:
        split[str(count)] = None
        for size in sorted(map(int, by_size), reverse=True):
            # A batch keeps no more threads busy than it has images.
            busy = max(one for one in threads if one <= min(count, size))
            if ways.opencv(busy) not in found[f"{side}, {size}"].get("gpu_wins_against", []):
                break
            split[str(count)] = size
    return split


def measured(
    results: Results, device: Any, codec: Any, sizes: tuple[int, ...], without: tuple[str, ...] = ()
) -> None:
    """All steps. `codec` None: OpenCV alone."""
    threads = tuple(count for count in THREADS if count <= len(os.sched_getaffinity(0)))
    results.step("facts", lambda: facts(device, codec))
    data = files()
    lengths = sorted(map(len, data))
    results.step("files", lambda: {
        "count": len(data), "least_bytes": lengths[0], "median_bytes": lengths[len(data) // 2],
        "most_bytes": lengths[-1],
    })  # fmt: skip
    bench = ways.Bench(device, data, sizes, threads)
    if codec is not None:
        results.step("settings", partial(bench.add, codec, without))
        results.step("pixels", bench.pixels)
    times = results.step("times", partial(bench.times, lambda: results.left_s() - _RESERVE_S))
    results.step("left_out", lambda: bench.left_out)
    if "failed" not in times:
        results.step("verdict", partial(verdict, times, threads))


def main() -> None:
    """Runs the steps and ends the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=78.0, help="seconds")
    parser.add_argument("--without", action="append", default=[], metavar="NAME", choices=list(ways.SETTINGS))
    options = parser.parse_args()
    # Ends the process with every thread's stack when something hangs, in a driver too.
    faulthandler.dump_traceback_later(options.budget + 5, exit=True)
    results = Results(options.out, options.budget)
    try:
        device = Cuda()
    except CudaError as error:
        sys.exit(f"gpu_jpeg.py: {error}")
    codec = None
    try:
        codec = nvimgcodec()
    except ImportError as error:
        told = f"nvImageCodec is not here ({error}); OpenCV is measured alone. Install nvidia-nvimgcodec-cu13[nvjpeg]"
        results.step("absent", lambda: told)
    measured(results, device, codec, SIZES, tuple(options.without))
    results.step("seconds", lambda: options.budget - results.left_s())
    results.step("command", lambda: f"python3 benchmarks/gpu_jpeg.py {' '.join(sys.argv[1:])}")
    results.step("code", gpu_code.code)
    sys.stderr.flush()
    # Threads may still wait for work.
    os._exit(0 if "failed" not in results.data.get("verdict", {"failed": 1}) else 1)


if __name__ == "__main__":
    main()
