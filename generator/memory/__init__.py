"""What pipelines need of memory at their limits, and the server's flags for it: every number from their Plans."""

from __future__ import annotations

from generator.memory.gpu import placed
from generator.memory.parts import (
    CUDA_POOL_BYTES,
    PINNED_POOL_BYTES,
    POOL_BATCHES,
    GpuMemory,
    GpuPart,
    Memory,
    ModelMemory,
)
from generator.memory.plan import memory_of, memory_of_all, region_bytes
from generator.memory.pools import Pools, pools_of

__all__ = [
    "CUDA_POOL_BYTES", "PINNED_POOL_BYTES", "POOL_BATCHES", "GpuMemory", "GpuPart", "Memory", "ModelMemory",
    "Pools", "memory_of", "memory_of_all", "placed", "pools_of", "region_bytes",
]  # fmt: skip
