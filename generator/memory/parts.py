"""What a server's memory is made of: by model, by GPU, and the flags that hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

POOL_BATCHES = 4  # of what an ensemble keeps between its steps: as TK766 counts it
# Of what the server copies into the pool for one execution of a Python model: a batch, and as much for the gaps that
# batches of other sizes leave.
TAKEN_BATCHES = 2
CUDA_POOL_BYTES = 64 << 20  # the server's own default, per GPU
PINNED_POOL_BYTES = 256 << 20  # likewise
CUDA_POOL_FLAG, PINNED_POOL_FLAG = "--cuda-memory-pool-byte-size=", "--pinned-memory-pool-byte-size="
MIN_REGION_BYTES = 1 << 20

# `derived` from shapes and counts, the size of a `file`, `measured` when the engine was built, or `seen` elsewhere.
Source = Literal["derived", "file", "measured", "seen"]


@dataclass(frozen=True)
class ModelMemory:
    """What the instances of one model need together. `region_bytes` is of one instance's shared memory (0: none).

    `file_bytes` are its files, once; `copies` says how often they are loaded. For its engines' batches each instance
    has memory of its own on the host: `pinned_bytes`, page-locked, where it is on a GPU; `plain_bytes`, ordinary, in
    each of the `on_cpu` others. `engine_processes` have an engine each, for all instances of a GPU or of the CPU;
    together they have `process_pinned_bytes` of memory for batches likewise, and `process_file_bytes` of files.
    """

    model: str
    instances: int
    batch_bytes: int
    region_bytes: int
    file_bytes: int
    copies: int
    pinned_bytes: int = 0
    engine_processes: int = 0
    process_pinned_bytes: int = 0
    process_file_bytes: int = 0
    on_cpu: int = 0
    plain_bytes: int = 0

    @property
    def all_buffer_bytes(self) -> int:
        """Memory for batches on the host, of all its processes."""
        on_gpu = self.instances - self.on_cpu
        return on_gpu * self.pinned_bytes + self.on_cpu * self.plain_bytes + self.process_pinned_bytes

    @property
    def all_file_bytes(self) -> int:
        """Its files, as often as they are loaded."""
        return self.copies * self.file_bytes + self.process_file_bytes


@dataclass(frozen=True)
class GpuPart:
    """One part of what lies on one GPU: `count` times `each_bytes`. `model` is empty where it is the server's."""

    gpu: int
    model: str
    what: str
    count: int
    each_bytes: int
    source: Source

    @property
    def size_bytes(self) -> int:
        """All of it."""
        return self.count * self.each_bytes


@dataclass(frozen=True)
class GpuMemory:
    """What is known of the memory of one GPU."""

    number: int
    parts: tuple[GpuPart, ...]

    @property
    def known_bytes(self) -> int:
        """The sum."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def certain_bytes(self) -> int:
        """The sum without what was only seen elsewhere, on another GPU or with another driver."""
        return sum(part.size_bytes for part in self.parts if part.source != "seen")


@dataclass(frozen=True)
class Memory:
    """What all pipelines of one server need.

    `cuda_pools` are the bytes of each GPU that is used, by its number, and `pool_parts` what they are of; the pinned
    pool is one for the whole server. `estimates` say what libraries take for themselves.
    """

    models: tuple[ModelMemory, ...]
    cuda_pools: Mapping[int, int]
    pinned_pool_bytes: int
    assumptions: tuple[str, ...]
    unknown: tuple[str, ...]
    gpu_parts: tuple[GpuPart, ...] = ()
    pool_parts: tuple[GpuPart, ...] = ()
    estimates: tuple[str, ...] = ()

    @property
    def cuda_pool_bytes(self) -> int:
        """Of the GPU whose pool has to hold the most: 0 without a GPU."""
        return max(self.cuda_pools.values(), default=0)

    @property
    def shm_bytes(self) -> int:
        """Of /dev/shm, when every instance has a full batch."""
        return sum(model.instances * model.region_bytes for model in self.models)

    @property
    def file_bytes(self) -> int:
        """The engines' files as often as they are loaded into the host's memory."""
        return sum(model.all_file_bytes for model in self.models)

    @property
    def staging_bytes(self) -> int:
        """Memory on the host that the models' processes allocate for batches themselves: it is in no pool."""
        return sum(model.all_buffer_bytes for model in self.models)

    @property
    def region_bytes(self) -> int:
        """Of the largest instance's shared memory: 0 without a Python model."""
        return max((model.region_bytes for model in self.models), default=0)

    def gpus(self) -> tuple[GpuMemory, ...]:
        """What lies on each GPU that is used, by its number."""
        numbers = sorted({part.gpu for part in self.gpu_parts})
        return tuple(
            GpuMemory(number, tuple(part for part in self.gpu_parts if part.gpu == number)) for number in numbers
        )

    def flags(self) -> list[str]:
        """What the server has to be started with where its own defaults are too small."""
        found = []
        if self.region_bytes > MIN_REGION_BYTES:
            found.append(f"--backend-config=python,shm-default-byte-size={self.region_bytes}")
        if self.pinned_pool_bytes > PINNED_POOL_BYTES:
            found.append(f"{PINNED_POOL_FLAG}{self.pinned_pool_bytes}")
        for number, size in sorted(self.cuda_pools.items()):
            if size > CUDA_POOL_BYTES:
                found.append(f"{CUDA_POOL_FLAG}{number}:{size}")
        return found
