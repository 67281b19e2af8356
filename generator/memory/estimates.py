"""What nobody derives: memory that drivers and libraries take for themselves, and how much of it was seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from generator.memory.gpu import CONTEXT_BYTES, Placed
from generator.memory.rings import rings_of
from generator.plan import Plan

MIB = 1 << 20
# Beside weights, and what TensorRT says of an execution context: one block, of ResNet-50 on an H200, TensorRT 8.6.
TENSORRT_BYTES = 2048


@dataclass(frozen=True)
class Estimate:
    """Of one process, context or instance: between `least_bytes` (None: not known) and `most_bytes` (None: nothing
    was measured) were seen. `is_counted`: whether the most is in the sums.
    """

    what: str
    least_bytes: int | None
    most_bytes: int | None
    is_counted: bool = False

    def __str__(self) -> str:
        if self.most_bytes is None:
            return f"{self.what}: not measured"
        most = f"{-(-self.most_bytes // MIB)} MiB" if self.most_bytes >= MIB else f"{self.most_bytes:,} bytes"
        seen = f"{self.least_bytes // MIB} to {most}" if self.least_bytes is not None else f"no more than {most}"
        return f"{self.what}: {seen} on an H200{', which is counted' if self.is_counted else ', not counted'}"


def estimates_of(plan: Plan, where: Placed) -> Iterator[Estimate]:
    """Those that are in the plan's pipeline on a GPU."""
    if not where.gpus(plan):
        return
    engines = {engine.program.engine for engine in plan.engines() if where.is_on_gpu(plan, engine.model)}
    # Of a server and five processes with TensorRT's code in them, each took less than that on average.
    yield Estimate("a CUDA context, in each process", None, CONTEXT_BYTES, is_counted=True)
    if engines - {"tensorrt"}:
        yield Estimate("code that ONNX Runtime or PyTorch load into it, in each process", None, None)
    if "tensorrt" in engines:
        yield Estimate("what TensorRT allocates in each execution context of ResNet-50", None, TENSORRT_BYTES)
    if any(ring.decoded_bytes for model in plan.models for ring in rings_of(plan, model)):
        yield Estimate("what nvImageCodec and nvJPEG allocate for themselves, in each instance", None, None)
