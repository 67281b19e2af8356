"""What lies on each GPU, part by part; what no file says is named and not guessed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from generator.engine.install.facts import facts_of
from generator.engine.install.store import Installed, installed
from generator.instances import ON_A_GPU, Group, groups_of
from generator.memory.parts import CUDA_POOL_BYTES, GpuPart
from generator.memory.rings import rings_of
from generator.plan import EnginePart, ModelPlan, Plan
from generator.project import Project

# What a process takes that has a context and nothing in it: at most, since the driver's own share is in it. Seen on
# an H200 with driver 580: 611,123,200 bytes of its memory were not free then.
CONTEXT_BYTES = 583 << 20
_MOST_GPUS = 1 << 10  # of a server: a number beyond is a slip of the pen, and nothing is counted up to it


def is_python(model: ModelPlan) -> bool:
    """Whether it runs in processes of the Python backend; of a model of `files` only `config` says so."""
    return "python" in (model.backend, model.config.get("backend"))


@dataclass(frozen=True)
class Placed:
    """Where the instances of several pipelines run on one server that has `gpu_count` GPUs.

    Triton starts a group that names no GPU on all that the server sees. No target says how many those are: they are
    counted as the fewest that it can start with, which is also as many as a pod gets.
    """

    gpu_count: int

    def on(self, plan: Plan, model: ModelPlan) -> dict[int, int]:
        """GPU -> instances of the model there."""
        found: dict[int, int] = {}
        for group in _on_gpus(plan, model):
            for number in group.gpus or range(self.gpu_count):
                found[number] = found.get(number, 0) + group.count
        return found

    def is_on_gpu(self, plan: Plan, model: ModelPlan) -> bool:
        """Whether any of its instances is."""
        return bool(self.on(plan, model))

    def gpus(self, plan: Plan) -> set[int]:
        """Those that any model of the plan runs on."""
        return {number for model in plan.models for number in self.on(plan, model)}

    def instances(self, plan: Plan, model: ModelPlan) -> int:
        """Everywhere."""
        groups = groups_of(model.instances, model.config)
        elsewhere = sum(group.count for group in groups if not (plan.target.gpu and group.kind in ON_A_GPU))
        return sum(self.on(plan, model).values()) + elsewhere or 1

    def places(self, plan: Plan, model: ModelPlan) -> int:
        """The GPUs that it has instances on, and the CPU where it has some there."""
        on = self.on(plan, model)
        return len(on) + (self.instances(plan, model) > sum(on.values()))


def _on_gpus(plan: Plan, model: ModelPlan) -> Iterator[Group]:
    for group in groups_of(model.instances, model.config) if plan.target.gpu else ():
        if group.kind in ON_A_GPU and all(number < _MOST_GPUS for number in group.gpus):
            yield group


def placed(plans: Sequence[Plan]) -> Placed:
    """As many GPUs as the highest number that a group names says, and one at least."""
    groups = (group for plan in plans for model in plan.models for group in _on_gpus(plan, model))
    return Placed(max((number for group in groups for number in group.gpus), default=0) + 1)


def gpu_parts(
    plans: Sequence[Plan], where: Placed, project: Project, cuda_pools: Mapping[int, int]
) -> tuple[list[GpuPart], list[str]]:  # fmt: skip
    """The parts of all GPUs, the server's own first, and what is unknown, in words. `cuda_pools`: GPU -> bytes."""
    used = sorted({number for plan in plans for number in where.gpus(plan)})
    parts: list[GpuPart] = []
    unknown: list[str] = []
    for number in used:
        pool = max(CUDA_POOL_BYTES, cuda_pools.get(number, 0))
        parts.append(GpuPart(number, "", "CUDA context", 1, CONTEXT_BYTES, "seen"))
        parts.append(GpuPart(number, "", "CUDA pool", 1, pool, "derived"))
    for plan in plans:
        for model in plan.models:
            for number, count in sorted(where.on(plan, model).items()):
                parts += _rings(plan, model, number, count)
        for engine in plan.engines():
            for number, count in sorted(where.on(plan, engine.model).items()):
                found, missing = _engine(plan, engine, project, number, count)
                parts += found
                unknown += [text for text in missing if text not in unknown]
    return parts, unknown


def _rings(plan: Plan, model: ModelPlan, number: int, count: int) -> Iterator[GpuPart]:
    rings = list(rings_of(plan, model))
    if any(not ring.is_shared for ring in rings):
        yield GpuPart(number, model.name, "CUDA contexts", count, CONTEXT_BYTES, "seen")
    for ring in rings:
        of = "" if len(rings) == 1 else f" of {ring.engine.key}"
        slots = ring.slots if ring.is_shared else count * ring.slots
        if ring.is_shared:
            yield GpuPart(number, model.name, f"CUDA context of the engine process{of}", 1, CONTEXT_BYTES, "seen")
        yield GpuPart(number, model.name, f"buffers{of}, slots of a ring", slots, ring.device_slot_bytes, "derived")
        if ring.staged_bytes:
            yield GpuPart(number, model.name, f"pixels for the kernel{of}", slots, ring.staged_bytes, "derived")
        if ring.decoded_bytes:
            yield GpuPart(number, model.name, f"decoded images{of}, at most", slots, ring.decoded_bytes, "derived")


def _engine(
    plan: Plan, engine: EnginePart, project: Project, number: int, count: int
) -> tuple[list[GpuPart], list[str]]:  # fmt: skip
    """Weights and activations of an engine with so many instances on a GPU."""
    program, buffers = engine.program, engine.program.buffers
    if buffers is not None and buffers.is_shared:
        count = 1  # whatever hands batches over
    sessions = count * (buffers.slots if buffers is not None else 1)
    about = f"`{engine.part.name}` on the GPU"
    there = installed(project, plan.target.name, engine.part.name, program.newest) if program.is_built else None
    if program.is_built and there is None:
        return [], [f"weights and activations of {about}: the engine is not built, so that there is no file of it"]
    name, copies = engine.model.name, _copies(engine, there, count, sessions)
    weights = GpuPart(
        number, name, f"weights of {engine.part.key}", copies, _file_bytes(engine, there, project), "file"
    )
    activations = there.manifest.get("measured", {}).get("activation_bytes") if there is not None else None
    if not isinstance(activations, int):
        return [weights], [f"activations and workspace of {about}: measured when an engine is built, not derived"]
    contexts = sessions * max(1, len(program.build.profiles or ()))
    what = f"activations of {engine.part.key}"
    return [weights, GpuPart(number, name, what, contexts, activations, "measured")], []


def _copies(engine: EnginePart, there: Installed | None, count: int, sessions: int) -> int:
    """How often the weights are there. Triton's TensorRT backend has a plan once on a GPU; in a Python model each
    instance has it, or the process that they share, and before TensorRT 10 each slot of its ring. A session of ONNX
    Runtime always has its own.
    """
    if engine.program.engine != "tensorrt":
        return sessions
    if engine.program.buffers is None:
        return 1
    version = str(facts_of(there.manifest).get("tensorrt", "")) if there is not None else ""
    major = version.partition(".")[0]
    return sessions if major.isdigit() and int(major) < 10 else count


def _file_bytes(engine: EnginePart, there: Installed | None, project: Project) -> int:
    """Of what is loaded. Raises OSError."""
    if there is not None and there.file is not None:
        return (there.folder / there.file).stat().st_size
    return len(engine.program.file_of(engine.program.newest).contents(project))
