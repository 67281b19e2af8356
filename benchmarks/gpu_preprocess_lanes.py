"""What the kernel's way takes when several threads copy the photographs into pinned memory: now one thread does it.

A batch is cut into parts, each with a staging of its own; a part crosses and is computed while the next are copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from gpu_preprocess_pixels import OnGpu

from tritonkit_runtime.batch import Array
from tritonkit_runtime.device import Kernels
from tritonkit_runtime.preprocess.staging import Staging

NAME = "kernel, copied on"
THREADS = {"uint8": (2, 4, 8), "fp32": (4,)}
_MOST_PARTS, _LEAST_IMAGES = 8, 4


def name(threads: int) -> str:
    """The name of the way on so many threads."""
    return f"{NAME} {threads} threads"


class Lanes:
    """The parts of every size of batch, into the input of one engine."""

    def __init__(self, device: Kernels, gpu: OnGpu, photos: Sequence[Array], sizes: Sequence[int]) -> None:
        self.device, self.gpu = device, gpu
        self._parts: dict[int, list[tuple[Staging, Sequence[Array]]]] = {}
        item_bytes = int(np.prod(gpu.shape)) * gpu.dtype.itemsize
        for size in sizes:
            share = -(-size // min(_MOST_PARTS, max(1, size // _LEAST_IMAGES)))
            ranges = [(start, min(size, start + share)) for start in range(0, size, share)]
            self._parts[size] = [
                (gpu.kernel.lane(gpu.pointer + start * item_bytes, share, 0), photos[start:end])
                for start, end in ranges
            ]

    @staticmethod
    def _filled(part: tuple[Staging, Sequence[Array]]) -> tuple[Staging, int]:
        staging, images = part
        staging.clear()
        for number, image in enumerate(images):
            staging.add(image, len(images) - number - 1)
        return staging, len(images)

    def run(self, pool: ThreadPoolExecutor, size: int) -> None:
        """One batch, to its end; one part needs no other thread."""
        parts = self._parts[size]
        for staging, rows in (pool.map if len(parts) > 1 else map)(self._filled, parts):
            staging.copy_in(self.gpu.stream)
            staging.put(rows, self.gpu.stream)
        self.device.wait(self.gpu.stream)
