"""What is said when the GPU has no room, the plan is another's, or a kernel fails: that costs the process its GPU."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gpu_engine_runs import Bench

from tritonkit_runtime.buffered.errors import BrokenError
from tritonkit_runtime.buffered.slot import taken
from tritonkit_runtime.buffered.tensorrt import TensorRT
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.parameters import TensorSpec

# A kernel that writes where no memory is; the driver compiles it.
_WRITES_TO_ZERO = b"""
.version 7.0
.target sm_80
.address_size 64
.visible .entry bad() {
  .reg .u64 %rd<2>;
  .reg .u32 %r<2>;
  mov.u64 %rd1, 0;
  mov.u32 %r1, 1;
  st.global.u32 [%rd1], %r1;
  ret;
}
\0"""


def seen(
    bench: Bench, device: Cuda, plan: bytes, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> dict[str, Any]:
    """What each fault says; the one that loses the context is last."""
    found: dict[str, Any] = {
        "out_of_memory": _said(
            lambda: taken(device, device.allocate, 1 << 42, "input made_up FP32 [1048576, 1048576]")
        )
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, data in (
            ("plan_of_another_version", plan[:24] + bytes([10, 9, 0, 34]) + plan[28:]),
            ("no_plan", b"\x08\x09" + plan[2:]),
        ):
            file = Path(folder) / f"{name}.plan"
            file.write_bytes(data)
            found[name] = _said(lambda file=file: TensorRT(device, file, inputs, outputs, bench.sizes))
    free = device.memory()[0]
    found["bucket_that_no_profile_takes"] = _said(
        lambda: TensorRT(device, bench.path, inputs, outputs, [*bench.sizes, 1 << 20])
    )
    found["free_bytes_changed_by"] = device.memory()[0] - free
    found["lost"] = _lost(bench)
    return found


def _said(act: Callable[[], Any]) -> str:
    try:
        act()
    except Exception as error:  # noqa: BLE001 — whatever it says is what is wanted
        return f"{type(error).__name__}: {error}"
    return "nothing"


def _lost(bench: Bench) -> dict[str, Any]:
    """A kernel fails while two batches are under way; afterwards every call has to say so, and none to answer."""
    (ring, *others), size = bench.rings.values(), bench.sizes[0]
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    library = ctypes.CDLL("libcuda.so.1")
    status = [library.cuModuleLoadData(ctypes.byref(module), _WRITES_TO_ZERO)]
    status.append(library.cuModuleGetFunction(ctypes.byref(function), module, b"bad"))
    first, second = ring.take(), ring.take()
    ring.start(first, size)
    status.append(library.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, ctypes.c_void_p(second.stream), None, None))
    batch = {name: array[:1] for name, array in bench.items.items()}
    acts: dict[str, Callable[[], Any]] = {
        "start": lambda: ring.start(second, size),
        "finish": lambda: ring.finish(second),
        "finish of the batch before": lambda: ring.finish(first),
        "take": ring.take,
        "run": lambda: ring.run(batch),
        **{f"run of another ring, {number}": partial(other.run, batch) for number, other in enumerate(others)},
    }
    said = {name: _said(act) for name, act in acts.items()}
    broken = [text.startswith(BrokenError.__name__) for text in said.values()]
    since = broken.index(True) if True in broken else 0
    return {
        "status": status,
        "said": said,
        "answers_afterwards": broken[since:].count(False),
        "closing": _said(ring.close),
    }
