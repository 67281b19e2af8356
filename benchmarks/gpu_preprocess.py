"""Claim: one kernel that resizes, normalises and lays out a batch on the GPU is faster than the steps on the CPU.

    python3.11 benchmarks/gpu_preprocess.py --out FILE [--torch PYTHON]     on a machine with a GPU, numpy and OpenCV

From photographs of 500x375 pixels, decoded, in ordinary memory, to the input of an engine on the GPU, at batches of
1, 8, 32 and 64: the kernel of tritonkit_runtime/preprocess (pixels through pinned staging, one copy, one launch)
against the steps of the CPU on 1 to 16 threads (into pinned memory, one copy), against CV-CUDA where it is installed,
and against PyTorch in a process of its own, whose interpreter --torch names. Then the same from JPEG files on one
thread, as an instance of the server has it; and the kernel with its copy to pinned memory on several threads.

Pixels are compared first: any difference above one level of 255 fails the run, and nothing is timed then. CV-CUDA
interpolates in floating point and OpenCV in parts of 2048: how far it is off is told, and fails nothing. Every way
and size is timed once a round, in a new order each. FILE is written after every step. It ends after --budget seconds,
whatever happens.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import os
import platform
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python_backend"))

import gpu_preprocess_cvcuda as cvcuda
import gpu_preprocess_pixels as pixels
import gpu_preprocess_ways as ways
from gpu_engine import Results
from gpu_preprocess_torch import Torch

from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.device.errors import CudaError

SIZES = (1, 8, 32, 64)
THREADS = (1, 2, 4, 8, 16)
_RESERVE_S = 8.0  # of the budget, for what comes after the timing


def facts(device: Cuda) -> dict[str, Any]:
    """What it takes to compare the figures with others."""
    import cv2
    import numpy as np

    return {
        **device.facts(), "python": platform.python_version(), "numpy": np.__version__, "opencv": cv2.__version__,
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
    }  # fmt: skip


def compared_with_cvcuda(bench: ways.Bench) -> dict[str, Any]:
    """Adds its ways; `absent` says why there are none."""
    try:
        package = importlib.import_module(cvcuda.NAME)
    except ImportError as error:
        return {"absent": f"{type(error).__name__}: {error}"}
    return cvcuda.added(package, bench)


def measured(results: Results, device: Cuda, interpreter: str, sizes: tuple[int, ...]) -> None:
    """All steps, in the order of how much they are wanted."""
    with tempfile.TemporaryDirectory() as folder:
        photos = ways.photographs(sizes[-1], seed=1)
        torch = Torch(interpreter, Path(folder), photos) if interpreter else None  # it takes seconds to begin
        try:
            results.step("facts", lambda: facts(device))
            equal = results.step("equal", lambda: pixels.equal(device))
            if not equal.get("passed"):
                return
            bench = ways.Bench(device, photos, sizes, THREADS)
            results.step("loading", lambda: bench.loading)
            if torch is not None:
                found = results.step("torch", partial(torch.ready, bench.expected(), results.left_s() / 3))
                if not found.get("passed"):
                    torch.close()
                    torch = None
            results.step("cvcuda", partial(compared_with_cvcuda, bench))
            results.step("parts", bench.parts)
            times = results.step("times", partial(bench.times, torch, lambda: results.left_s() - _RESERVE_S))
            if "failed" not in times:
                results.step("verdict", lambda: ways.verdict(times))
        finally:
            if torch is not None:
                torch.close()


def passed(data: dict[str, Any]) -> bool:
    """Whether everything was compared equal, and timed."""
    torch = data.get("torch", {"passed": True})
    # PyTorch may be missing; where it is there its pixels count too.
    fine = torch.get("passed", False) or "absent" in torch
    return bool(data.get("equal", {}).get("passed")) and fine and "failed" not in data.get("verdict", {"failed": 1})


def main() -> None:
    """Runs the steps and ends the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds")
    parser.add_argument("--torch", default=os.environ.get("IMAGE_PYTHON", ""), help="an interpreter with PyTorch")
    options = parser.parse_args()
    # Ends the process with every thread's stack when something hangs, in a driver too.
    faulthandler.dump_traceback_later(options.budget, exit=True)
    results = Results(options.out, options.budget)
    try:
        device = Cuda()
    except CudaError as error:
        sys.exit(f"gpu_preprocess.py: {error}")
    measured(results, device, options.torch, SIZES)
    results.step("seconds", lambda: options.budget - results.left_s())
    sys.stderr.flush()
    os._exit(0 if passed(results.data) else 1)  # threads of a pool may still wait for work


if __name__ == "__main__":
    main()
