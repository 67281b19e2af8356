"""What this machine can do at most, measured now, and which of the two limits each row of a profile is under."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from generator.engine.profile.rows import LayerTime

Bound = Literal["memory", "compute", "neither", "unknown"]
NEITHER_BELOW = 0.1  # of what the nearer roof allows
_SIDE, _TRIES = 512, 40
_PIECES, _PIECE_BYTES = 8, 16 * 2**20


@dataclass(frozen=True)
class Roofs:
    """The most operations and bytes a second, in FP32 and with `threads` threads: the best of some tries."""

    flops_per_s: float
    bytes_per_s: float
    threads: int

    def best(self, other: Roofs) -> Roofs:
        """The higher of both measurements: in a busy moment both roofs look lower than they are."""
        return Roofs(
            max(self.flops_per_s, other.flops_per_s), max(self.bytes_per_s, other.bytes_per_s), self.threads
        )  # fmt: skip

    @property
    def ridge(self) -> float:
        """Operations a byte from which on arithmetic is the limit."""
        return self.flops_per_s / self.bytes_per_s

    def least_ms(self, row: LayerTime) -> float | None:
        """The time that the nearer roof allows; None where the row's work is not known."""
        if row.flops is None or row.moved_bytes is None:
            return None
        return 1e3 * max(row.flops / self.flops_per_s, row.moved_bytes / self.bytes_per_s)

    def of_roof(self, row: LayerTime) -> float | None:
        """How much of that the row reaches: 1 is the roof. More is possible: small tensors stay in caches."""
        least = self.least_ms(row)
        return least / row.ms if least is not None and row.ms > 0 else None

    def bound(self, row: LayerTime) -> Bound:
        """Which limit it is under; `neither` where it takes ten times as long as both allow, as small layers do."""
        reached = self.of_roof(row)
        if reached is None or row.flops is None or row.moved_bytes is None:
            return "unknown"
        if reached < NEITHER_BELOW:
            return "neither"
        return "compute" if row.flops >= self.ridge * row.moved_bytes else "memory"


def measure_roofs(threads: int = 0) -> Roofs:
    """Both roofs of this machine's CPU (0 threads: all its cores): a product of two 512 x 512 FP32 matrices in ONNX
    Runtime, and a copy of 16 MiB at a time out of 128, each byte read and written. The best of 40 tries of some
    milliseconds, so that a busy machine leaves some of them alone. About half a second.
    """
    import os

    count = threads or len(os.sched_getaffinity(0))
    return Roofs(_peak_flops_per_s(count), _copy_bytes_per_s(count), count)


def _peak_flops_per_s(threads: int) -> float:
    import numpy as np
    import onnx

    from generator.engine.runner import OnnxRunner

    value, kind, shape = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT, [_SIDE, _SIDE]
    node = onnx.helper.make_node("MatMul", ["a", "b"], ["c"])
    graph = onnx.helper.make_graph([node], "peak", [value("a", kind, shape), value("b", kind, shape)],
                                   [value("c", kind, shape)])  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    runner = OnnxRunner(model.SerializeToString(), threads=threads)
    tensors = {name: np.full(shape, 0.5, np.float32) for name in ("a", "b")}
    try:
        return 2 * _SIDE**3 / _least_s(lambda: runner.run(tensors))
    finally:
        runner.close()


def _copy_bytes_per_s(threads: int) -> float:
    import numpy as np

    # Piece after piece: by the time that one comes round again, the others have pushed it out of the caches.
    source = np.ones((_PIECES, threads, _PIECE_BYTES // threads), np.uint8)
    there = np.zeros_like(source)
    turns = itertools.cycle(range(_PIECES))
    with ThreadPoolExecutor(threads) as pool:

        def copy() -> None:
            piece = next(turns)
            list(pool.map(np.copyto, there[piece], source[piece]))

        return 2 * float(source[0].nbytes) / _least_s(copy)


def _least_s(work: Callable[[], object]) -> float:
    """The shortest of some runs, after one that is not counted."""
    work()
    times = []
    for _ in range(_TRIES):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)
