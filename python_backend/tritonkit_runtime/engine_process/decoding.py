"""Images of instances in the process that has the engine: taken out of their memory, decoded, given to a kernel."""

from __future__ import annotations

from collections.abc import Sequence

from tritonkit_runtime.engine_process.members import Job
from tritonkit_runtime.preprocess.filling import from_parcels
from tritonkit_runtime.preprocess.jpeg import Kind
from tritonkit_runtime.preprocess.kernel import Kernel
from tritonkit_runtime.preprocess.parcel import Packed, unpacked


class Decoding:
    """Of the `kernel` that makes the `input` of an engine; `kinds` of JPEG files are decoded for it, if any."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel, self.input = kernel, kernel.input
        self.kinds: frozenset[Kind] = frozenset() if kernel.decoder is None else kernel.decoder.kinds

    def unpacked(self, memory: tuple[int, int], offset: int, items: int) -> list[Packed]:
        """What an instance has handed over; ValueError for what cannot be that."""
        return unpacked(memory, offset, items, self._kernel.recipe.item_shape, self._kernel.max_pixels)

    def fill(self, lane: int, jobs: Sequence[Job]) -> None:
        """Puts the images of a batch into the staging of this lane, and what was refused into the jobs. CudaError."""
        staging = self._kernel.stagings[lane]
        staging.clear()
        refused = from_parcels(staging, [job.images for job in jobs], self._kernel.recipe.channels)
        for job, rows in zip(jobs, refused, strict=True):
            job.refused = rows
