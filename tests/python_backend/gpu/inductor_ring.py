"""What Inductor compiled of the digits, in the ring: its answers, its buffers, its rate. `python inductor_ring.py FILE`."""

from __future__ import annotations

import faulthandler
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ring_loads import UNDER_WAY, answered_in_company

from tritonkit_runtime.batch import Array
from tritonkit_runtime.buffered.loading import Loaded, load
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.parameters import Copies, TensorSpec

SIZES = (1, 4, 16, 64)
# The network of the tutorial: convolutions, and a product of matrices.
DIGITS = Path(__file__).resolve().parents[3] / "models/digits.onnx"
PIXELS, LOGITS = TensorSpec("pixels", "FP32", (1, 8, 8)), TensorSpec("logits", "FP32", (10,))


def loaded(path: Path, copies: Copies = "auto", gpu: int | None = 0) -> Loaded:
    return load("inductor", path, [PIXELS], [LOGITS], SIZES, gpu=gpu, slots=UNDER_WAY, copies=copies)


def items(count: int, seed: int) -> dict[str, Array]:
    return {"pixels": np.random.default_rng(seed).random((count, *PIXELS.dims), np.float32)}


def answer(module: Any, tensors: dict[str, Array]) -> Array:
    import torch

    with torch.no_grad():
        found: Array = module(torch.from_numpy(tensors["pixels"])).numpy()
    return found


def close(found: Array, expected: Array) -> bool:
    """TF32 is off: what is left is the order of sums."""
    return bool(np.abs(found.astype(np.float64) - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max()))


def check_ring(path: Path, module: Any, copies: Copies, tell: Callable[[str], None], gpu: int | None = 0) -> None:
    """Loads it, and tells the rate in batches of the largest size after the answers were right."""
    model = loaded(path, copies, gpu)
    tell(f"copies {copies}: loaded, {len(SIZES)} sizes in {UNDER_WAY} slots")
    for tensors, found in answered_in_company(model.ring, items, groups=24, seed=5):
        assert isinstance(found, dict)
        assert close(found["logits"], answer(module, dict(tensors))), copies
    tell(f"copies {copies}: 72 requests have their answers")
    for lane in model.ring.lanes:
        for given, answered in lane.session._bound.values():  # type: ignore[attr-defined]
            assert given[0].data_ptr() == lane.slot.addresses["pixels"]
            assert answered[0].data_ptr() == lane.slot.addresses["logits"]
    tell(f"copies {copies}: {rate(model.ring):,.0f} items/s in batches of {SIZES[-1]}, {UNDER_WAY} under way")
    model.close()


def rate(ring: Ring, count: int = 3000) -> float:
    """Items a second in batches of the largest size, as many under way as there are slots."""
    under_way = deque(ring.take() for _ in range(UNDER_WAY))
    started: deque[Any] = deque()
    begun = time.perf_counter()
    for _ in range(count):
        if not under_way:
            lane = started.popleft()
            ring.finish(lane)
            under_way.append(lane)
        lane = under_way.popleft()
        ring.start(lane, SIZES[-1])
        started.append(lane)
    for lane in started:
        ring.finish(lane)
        ring.give_back(lane)
    return count * SIZES[-1] / (time.perf_counter() - begun)


def main(path: Path, gpu: int | None) -> None:
    """Both ways of copying, in this process; a signal that ends it leaves the stack."""
    from tritonkit_runtime.buffered.inductor_module import from_onnx

    faulthandler.enable()
    begun = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - begun:6.1f} s: {text}", flush=True)

    module = from_onnx(DIGITS.read_bytes()).eval()
    for copies in ("inside", "beside"):
        check_ring(path, module, copies, tell, gpu)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(Path(sys.argv[1]), None if "cpu" in sys.argv[2:] else 0)
