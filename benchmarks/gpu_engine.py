"""Claim: with buffers allocated once, a CUDA graph a bucket and a ring of slots, an engine is hardly ever waited for.

    python3.11 benchmarks/gpu_engine.py PLAN --out FILE     on a machine with a GPU, TensorRT and numpy

Loads a TensorRT plan with one dynamic axis, the batch. Compares the ring's answers with the plan's own, run at the
same sizes of batch and padded; counts what the hot path allocates; times batches one at a time and several in flight
against copying in, running and copying out one after the other, and against the engine alone, in turns; shows by CUDA
events how copies and computing of neighbouring batches lie side by side; and last breaks things, to see what is said.
FILE is written after every step. It ends after --budget seconds, whatever happens.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python_backend"))

import gpu_engine_checks as checks
import gpu_engine_faults as faults
import gpu_engine_runs as runs

from generator.engine.compile.tensorrt.runner import Tensor, TensorRTRunner
from tritonkit_runtime.buffered.tensorrt_bindings import load as load_bindings
from tritonkit_runtime.buffered.tensorrt_bindings import nearest_profile
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.parameters import TensorSpec

BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
_TRITON = {"FLOAT": "FP32", "HALF": "FP16", "INT32": "INT32", "INT64": "INT64", "UINT8": "UINT8", "BOOL": "BOOL"}
_RESERVE_S = 12.0  # of the budget, for what comes after the timing


class Counted(Cuda):
    """A GPU that counts what is allocated on it through this class."""

    def __init__(self) -> None:
        self.allocated: dict[str, int] = {"device": 0, "device_bytes": 0, "pinned": 0, "pinned_bytes": 0}
        super().__init__()

    def _note(self, word: str, size_bytes: int) -> None:
        self.allocated[word] += 1
        self.allocated[f"{word}_bytes"] += size_bytes

    def allocate(self, size_bytes: int) -> int:
        """Counts it."""
        self._note("device", size_bytes)
        return super().allocate(size_bytes)

    def pinned(self, size_bytes: int) -> int:
        """Counts it."""
        self._note("pinned", size_bytes)
        return super().pinned(size_bytes)


class Results:
    """What was seen, written after every step; a step that fails stops no other."""

    def __init__(self, file: Path, budget_s: float) -> None:
        self.file, self.start, self.budget_s = file, time.monotonic(), budget_s
        self.data: dict[str, Any] = {"format": 1}

    def left_s(self) -> float:
        """Seconds of the budget that are left."""
        return self.budget_s - (time.monotonic() - self.start)

    def step(self, name: str, make: Callable[[], Any]) -> Any:
        """Notes what `make` gives, or how it failed."""
        try:
            value = make()
        except Exception as error:  # noqa: BLE001 — the next step may work, and the report tells
            value = {"failed": f"{type(error).__name__}: {error}"}
            traceback.print_exc()
        self.data[name] = value
        self.file.write_text(json.dumps(self.data, indent=1) + "\n")
        sys.stderr.write(f"{time.monotonic() - self.start:5.1f} s  {name}: {json.dumps(value)[:400]}\n")
        sys.stderr.flush()
        return value


def specs(tensors: tuple[Tensor, ...], is_input: bool) -> list[TensorSpec]:
    """What the plan has, as a model would declare it."""
    found = [tensor for tensor in tensors if tensor.is_input == is_input]
    return [TensorSpec(tensor.name, _TRITON[tensor.dtype], tensor.shape[1:]) for tensor in found]


def facts(device: Cuda, path: Path, plan: bytes, sizes: tuple[int, ...]) -> dict[str, Any]:
    """What it takes to compare the figures with others."""
    import numpy as np

    free, total = device.memory()
    return {
        **device.facts(), "tensorrt": str(load_bindings().__version__), "python": platform.python_version(),
        "numpy": np.__version__, "cores": len(os.sched_getaffinity(0)), "plan": path.name, "plan_bytes": len(plan),
        "plan_sha256": hashlib.sha256(plan).hexdigest(), "buckets": list(sizes), "gpu_free_bytes": free,
        "gpu_bytes": total,
    }  # fmt: skip


def sizes_of(runner: TensorRTRunner, tensors: list[TensorSpec], wanted: list[int]) -> tuple[int, ...]:
    """Those of the wanted sizes that the plan takes."""
    fits = [
        size
        for size in wanted
        if nearest_profile(runner._engine, {t.name: (size, *t.dims) for t in tensors}) is not None
    ]
    return tuple(fits)


def main() -> int:
    """Everything, in order of how much it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=80.0, help="seconds")
    parser.add_argument("--buckets", default=",".join(map(str, BUCKETS)))
    options = parser.parse_args()
    # Ends the process with every thread's stack when something hangs, in a driver too.
    faulthandler.dump_traceback_later(options.budget + 8, exit=True)
    results = Results(options.out, options.budget)
    device, plan = Counted(), options.plan.read_bytes()
    runner = TensorRTRunner(plan)
    inputs, outputs = specs(runner.tensors, True), specs(runner.tensors, False)
    sizes = sizes_of(runner, inputs, [int(size) for size in options.buckets.split(",")])
    results.step("facts", lambda: facts(device, options.plan, plan, sizes))
    bench: runs.Bench | None = None

    def loading() -> dict[str, Any]:
        nonlocal bench
        bench = runs.Bench(device, options.plan, inputs, outputs, sizes)
        return bench.loading

    results.step("loading", loading)
    if bench is not None:
        ready = bench
        results.step("equal", lambda: checks.equal(ready, runner))
        results.step("allocations", lambda: checks.allocations(ready, device))
        results.step("trace", lambda: checks.traces(ready))
        results.step("latency", lambda: runs.latency(ready, lambda: results.left_s() - _RESERVE_S - 22))
        results.step("throughput", lambda: runs.throughput(ready, lambda: results.left_s() - _RESERVE_S))
        results.step("faults", lambda: faults.seen(ready, device, plan, inputs, outputs))
    results.step("seconds", lambda: time.monotonic() - results.start)
    sys.stderr.flush()
    os._exit(
        0 if checks.passed(results.data) else 1
    )  # the context is lost by now, and freeing what is in it may crash


if __name__ == "__main__":
    main()
