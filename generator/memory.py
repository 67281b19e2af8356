"""What a pipeline needs of memory at its limits, and the server's flags that follow: every number from the Plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from generator.copies import Sizes
from generator.plan import EngineProgram, ModelPlan, Plan, Tensor
from generator.project import Project

POOL_BATCHES = 4  # of what an ensemble keeps on a GPU: as TK766 counts it
CUDA_POOL_BYTES = 64 << 20  # the server's own default, per GPU
PINNED_POOL_BYTES = 256 << 20  # likewise
_MIN_REGION_BYTES = 1 << 20
_HEADERS_BYTES = 64 << 10  # of the region itself, and of the requests in it
_BATCHES = 2  # in a region: one at work, and the answers of the one before it, until they are copied out


@dataclass(frozen=True)
class ModelMemory:
    """What the instances of one model need together. `region_bytes` is of one instance's shared memory (0: none).

    `file_bytes` are its files, once; `copies` says how often they are loaded.
    """

    model: str
    instances: int
    batch_bytes: int
    region_bytes: int
    file_bytes: int
    copies: int


@dataclass(frozen=True)
class Memory:
    """What the whole pipeline needs. Pools are per GPU; 0 where there is none."""

    models: tuple[ModelMemory, ...]
    cuda_pool_bytes: int
    pinned_pool_bytes: int
    assumptions: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def shm_bytes(self) -> int:
        """Of /dev/shm, when every instance has a full batch."""
        return sum(model.instances * model.region_bytes for model in self.models)

    @property
    def file_bytes(self) -> int:
        """The engines' files as often as they are loaded."""
        return sum(model.copies * model.file_bytes for model in self.models)

    def flags(self) -> list[str]:
        """What the server has to be started with where its own defaults are too small."""
        largest = max((model.region_bytes for model in self.models), default=0)
        found = []
        if largest > _MIN_REGION_BYTES:
            found.append(f"--backend-config=python,shm-default-byte-size={largest}")
        if self.pinned_pool_bytes > PINNED_POOL_BYTES:
            found.append(f"--pinned-memory-pool-byte-size={self.pinned_pool_bytes}")
        if self.cuda_pool_bytes > CUDA_POOL_BYTES:
            found.append(f"--cuda-memory-pool-byte-size=0:{self.cuda_pool_bytes}")
        return found


def memory_of(plan: Plan, project: Project, given: dict[str, int]) -> Memory:
    """What `plan` needs. `given` as in `Sizes`. Raises OSError where an engine's file cannot be read."""
    found = tuple(_model(model, project, given) for model in plan.models)
    pinned = 2 * sum(m.instances * m.batch_bytes for m, p in zip(found, plan.models, strict=True) if _on_gpu(plan, p))
    tensors = {t.name: t for m in plan.models for t in (*m.inputs, *m.outputs)}
    assumed = dict.fromkeys(text for t in tensors.values() if (text := Sizes(given=given).assumption(t)))
    return Memory(found, _cuda_pool(plan, given), pinned, tuple(assumed), tuple(_unknown(plan)))


def _model(model: ModelPlan, project: Project, given: dict[str, int]) -> ModelMemory:
    batch = sum(_bytes(model, tensor, given) for tensor in (*model.inputs, *model.outputs))
    is_python = "python" in (model.backend, model.config.get("backend"))
    region = max(_MIN_REGION_BYTES, _round_up(_BATCHES * batch + _HEADERS_BYTES)) if is_python else 0
    files = 0
    for part in model.parts():
        if isinstance(part.program, EngineProgram) and not part.program.is_built:
            files += len(part.program.file_of(part.program.newest).contents(project))
    copies = model.instance_count() if is_python else 1
    return ModelMemory(model.name, model.instance_count(), batch, region, files, copies)


def _bytes(model: ModelPlan, tensor: Tensor, given: dict[str, int]) -> int:
    """Of a full batch."""
    return Sizes(items=max(1, model.max_batch_size), given=given).size_bytes(tensor, batched=model.max_batch_size > 0)


def _round_up(size: int) -> int:
    """To whole MiB."""
    return -(-size // _MIN_REGION_BYTES) * _MIN_REGION_BYTES


def _on_gpu(plan: Plan, model: ModelPlan) -> bool:
    return plan.target.gpu is not None and any(group.kind == "gpu" for group in model.instances)


def _cuda_pool(plan: Plan, given: dict[str, int]) -> int:
    """Of the outputs of steps on a GPU that go to other steps."""
    if plan.ensemble is None:
        return 0
    outer = {tensor.name for tensor in plan.ensemble.outputs}
    by_name = {model.name: model for model in plan.models}
    total = 0
    for step in plan.ensemble.steps:
        model = by_name[step.model]
        if model.backend == "python" or not _on_gpu(plan, model):
            continue
        for tensor in model.outputs:
            if step.outputs.get(tensor.name, "") not in {"", *outer}:
                total += POOL_BATCHES * model.instance_count() * _bytes(model, tensor, given)
    return total


def _unknown(plan: Plan) -> Iterator[str]:
    """What no file says."""
    for engine in plan.engines():
        where = "on the GPU" if _on_gpu(plan, engine.model) else "on the host"
        what = "for its file, activations" if engine.program.is_built else "beside its file, for activations"
        yield f"what `{engine.part.name}` takes {where} {what} and workspace is measured, not derived"
