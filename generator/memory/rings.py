"""The memory that engines in Python models run in: allocated once, and so known to the byte.

What is counted here is what `tritonkit_runtime.buffered.slot` allocates, its `preprocess.staging`, and what
`engine_process.worker` shares.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from generator.elements import ELEMENT_BYTES
from generator.plan import EngineProgram, FlowProgram, ModelPlan, Plan, Stage, StepsProgram, Tensor
from generator.resolve.preprocessed import decodes_on_gpu, steps_on_gpu

# Of the memory that an instance shares with the process that has the engine.
_SHARED_SLOTS = 2
_ALIGNMENT_BYTES, _PAGE_BYTES = 64, 4096


@dataclass(frozen=True)
class Ring:
    """Of one engine: how many `slots`, and what each has on the GPU and page-locked on the host. Each instance has
    one; `is_shared`: one process has it, for all instances of a GPU, or of the CPU.

    `staged_bytes`: in a slot, of pixels for a kernel that fills an input, on the GPU; `host_bytes` of them are on the
    host too. `decoded_bytes`: in a slot, of images that the GPU decodes, at most: they are there once large ones have
    come. `rows_bytes`: what each instance shares with that process.
    """

    engine: ModelPlan
    slots: int
    device_slot_bytes: int
    pinned_slot_bytes: int
    staged_bytes: int = 0
    decoded_bytes: int = 0
    is_shared: bool = False
    rows_bytes: int = 0
    host_bytes: int = 0

    @property
    def device_bytes(self) -> int:
        """On the GPU, of all slots, from the start."""
        return self.slots * (self.device_slot_bytes + self.staged_bytes)

    @property
    def pinned_bytes(self) -> int:
        """On the host, of all slots."""
        return self.slots * (self.pinned_slot_bytes + self.host_bytes)

    @property
    def plain_bytes(self) -> int:
        """Of all slots where the engine runs on the CPU: all tensors in ordinary memory, and no kernel's pixels."""
        return self.slots * self.device_slot_bytes


def rings_of(plan: Plan, model: ModelPlan) -> Iterator[Ring]:
    """One for each engine of the model that has buffers."""
    stages = model.program.stages if isinstance(model.program, FlowProgram) else (Stage(model, {}, {}),)
    answers = [tensor.name for tensor in model.outputs]
    for stage in stages:
        program = stage.model.program
        if not isinstance(program, EngineProgram) or program.buffers is None:
            continue
        slot = {t.name: _bytes(t, stage.model) for t in (*stage.model.inputs, *stage.model.outputs)}
        steps = steps_on_gpu(stage, stages, answers)
        found = _staged(stage, steps, plan) if steps is not None else _Staged()
        stays = {t.name for t in stage.model.outputs} if program.buffers.outputs == "device" else set()
        yield Ring(
            stage.model, program.buffers.slots, sum(slot.values()),
            sum(size for name, size in slot.items() if name not in {found.fed, *stays}), found.staged_bytes,
            found.decoded_bytes, program.buffers.is_shared,
            _rows_bytes(stage.model, found) if program.buffers.is_shared else 0, found.host_bytes,
        )  # fmt: skip


@dataclass(frozen=True)
class _Staged:
    """The input that a kernel fills, and the bytes of a slot: of the pixels that it reads, of those on the host, of
    images that the GPU has decoded for it, and of images that an instance hands over.
    """

    fed: str = ""
    staged_bytes: int = 0
    host_bytes: int = 0
    decoded_bytes: int = 0
    parcel_bytes: int = 0


def _rows_bytes(model: ModelPlan, staged: _Staged) -> int:
    """What an instance shares with the process that has the engine: batches that one instance hands over."""
    tensors = [tensor for tensor in (*model.inputs, *model.outputs) if tensor.name != staged.fed]
    sizes = [_bytes(tensor, model, items=model.max_batch_size) for tensor in tensors]
    slot = sum(_whole(size, _ALIGNMENT_BYTES) for size in (*sizes, staged.parcel_bytes))
    return _whole(_SHARED_SLOTS * slot, _PAGE_BYTES)


def _whole(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _bytes(tensor: Tensor, model: ModelPlan, items: int = 0) -> int:
    """Of a batch of `items`, else of the largest, in the greatest length."""
    assert isinstance(model.program, EngineProgram)  # noqa: S101  (for the type checker: callers have looked)
    buffers = model.program.buffers
    assert buffers is not None  # noqa: S101  (likewise)
    dims = buffers.lengths.get(tensor.name, tensor.dims)
    longest = buffers.open_lengths[-1] if buffers.open_lengths else 1
    elements = math.prod(longest if dim < 0 else dim for dim in dims)
    return (items or buffers.buckets[-1]) * elements * ELEMENT_BYTES[tensor.dtype]


def _staged(engine: Stage, steps: Stage, plan: Plan) -> _Staged:
    from generator.engine.kernels import decoded_bytes, parcel_bytes, staging_bytes, table_bytes

    assert isinstance(steps.model.program, StepsProgram)  # noqa: S101  (as `steps_on_gpu` says)
    assert isinstance(engine.model.program, EngineProgram)  # noqa: S101
    [made] = steps.outputs.values()
    fed = next(inside for inside, name in engine.inputs.items() if name == made)
    buffers = engine.model.program.buffers
    assert buffers is not None  # noqa: S101
    decodes, largest, given = decodes_on_gpu(engine), buffers.buckets[-1], steps.model.program.steps
    most = plan.limits.max_pixels
    image = steps.model.inputs[0].dims
    size = staging_bytes(given, image, most, largest, decoded=decodes)
    decoded = decoded_bytes(given, most, largest) if decodes else 0
    if not buffers.is_shared:
        return _Staged(fed, size, size, decoded)
    parcel = parcel_bytes(given, image, most, engine.model.max_batch_size)
    return _Staged(fed, size, table_bytes(largest, decoded=decodes), decoded, parcel)
