"""The memory of a pod and the processors that it asks for, from what its pipelines need at their limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from generator.copies import Sizes
from generator.instances import groups_of
from generator.memory import PINNED_POOL_BYTES, Memory, memory_of_all, placed
from generator.memory.gpu import Placed
from generator.memory.parts import CUDA_POOL_FLAG, PINNED_POOL_FLAG
from generator.plan import ModelPlan, Plan, StepsProgram, Tensor
from generator.project import Project
from generator.server_flags import server_flags

MIB, GIB = 1 << 20, 1 << 30
LEAST_SHM_BYTES = 64 * MIB  # what a container has without being asked
LEAST_BODY_BYTES = 64 * MIB  # the server's own --http-max-input-size
SERVER_BYTES = 512 * MIB  # the process with its backends, before any model; on a GPU also CUDA's host side
PYTHON_BYTES = 64 * MIB  # a Python model's process with its imports: 17 to 30 MiB of its own were seen, 62 resident
# Of each pixel of an image, by what `decode` makes of it, while it is decoded and the one before it is still there.
# Seen with progressive JPEG files of four colours: other files take less, 9 to 12 and 3 to 8.
DECODING_BYTES = {"rgb": 14, "gray": 10}
_STEP_BYTES = 256 * MIB  # what a request for memory is rounded up to
PLUGIN_FOLDER = "/opt/tritonkit"  # in an image: plugin libraries lie there by their paths in the project
_HEADER_BYTES = 64 << 10  # of a request, beside its tensors


@dataclass(frozen=True)
class Part:
    """One part of a sum of bytes, and what it is in words."""

    what: str
    size: int


@dataclass(frozen=True)
class PodMemory:
    """What a pod's memory is made of, without /dev/shm. `unknown` says what is not in the sum."""

    parts: tuple[Part, ...]
    unknown: tuple[str, ...]

    @property
    def known_bytes(self) -> int:
        """The sum of what is known."""
        return sum(part.size for part in self.parts)

    @property
    def request_bytes(self) -> int:
        """The pod's request: the sum, rounded up to 256 MiB."""
        return -(-self.known_bytes // _STEP_BYTES) * _STEP_BYTES


def together(plans: Sequence[Plan], project: Project) -> Memory:
    """What all pipelines of one server need. Raises OSError where an engine's file cannot be read."""
    return memory_of_all(plans, project, {})


def shared_memory_bytes(memory: Memory) -> int:
    """Of /dev/shm: every Python instance with a full batch, and never less than a container has anyway."""
    return max(LEAST_SHM_BYTES, memory.shm_bytes)


def pod_memory(
    plans: Sequence[Plan], project: Project, memory: Memory, response_cache_bytes: int
) -> PodMemory:  # fmt: skip
    """Of the server's container beside its /dev/shm, which counts too and which the chart adds by itself.

    Raises OSError where an engine's file cannot be read.
    """
    where = placed(plans)
    processes = sum(where.instances(plan, model) for plan in plans for model in plan.models if is_python(model))
    processes += sum(model.engine_processes for model in memory.models)
    parts = [
        Part("the server", SERVER_BYTES),
        Part(f"Python processes ({processes})", processes * PYTHON_BYTES),
        Part(
            "the largest image, decoded in each of them that does", sum(_decoded_bytes(plan, where) for plan in plans)
        ),
        Part("engine files", memory.file_bytes + _built_bytes(plans, project)),
        Part("the pinned pool", max(PINNED_POOL_BYTES, memory.pinned_pool_bytes) if gpus_of(plans) else 0),
        Part("buffers of engines in Python models", memory.staging_bytes),
        Part("the response cache", response_cache_bytes),
    ]
    on_host = [engine.part.name for plan in plans for engine in plan.engines() if _is_on_cpu(engine.model)]
    unknown = (f"activations and workspace of {', '.join(on_host)}, which are measured",) if on_host else ()
    return PodMemory(tuple(part for part in parts if part.size), unknown)


def cpus_of(plans: Sequence[Plan]) -> int:
    """One for each instance that computes on the CPU, and one for the server's own threads."""
    where = placed(plans)
    return 1 + sum(
        where.instances(plan, model) for plan in plans for model in plan.models if _is_on_cpu(model)
    )  # fmt: skip


def gpus_of(plans: Sequence[Plan]) -> int:
    """Of one pod: as many as the highest number that an instance group names; else one, if any runs on one."""
    where = placed(plans)
    numbers = [number for plan in plans for number in where.gpus(plan)]
    models = [model for plan in plans if plan.target.gpu for model in plan.models]
    places_itself = any(
        group.kind == "model" for model in models for group in groups_of(model.instances, model.config)
    )
    return max((number + 1 for number in numbers), default=int(places_itself))


def body_bytes(plans: Sequence[Plan]) -> int:
    """The largest request over HTTP: a full batch, or one item whose texts and files are as large as the spec lets
    them be; in whole MiB, and never less than the server's own bound."""
    largest = max((request_bytes(plan) for plan in plans), default=0)
    return max(LEAST_BODY_BYTES, -(-largest // MIB) * MIB)


def request_bytes(plan: Plan) -> int:
    """The largest request of one pipeline, as `body_bytes` counts it."""
    sizes = Sizes(items=max(1, plan.max_batch_size))
    batch = sum(sizes.size_bytes(tensor, batched=plan.max_batch_size > 0) for tensor in plan.inputs)
    one = sum(plan.limits.max_bytes if _has_any_size(tensor) else tensor.item_bytes() for tensor in plan.inputs)
    return max(batch, one) + _HEADER_BYTES


def _has_any_size(tensor: Tensor) -> bool:
    return tensor.dtype == "STRING"


def flags_of(plans: Sequence[Plan], memory: Memory, response_cache_bytes: int) -> Iterator[tuple[str, str]]:
    """The server's flags beside those that the chart sets: each with why."""
    for flag in memory.flags():
        if flag.startswith(CUDA_POOL_FLAG):
            yield flag, "tensors between models on the GPU, at their limits"
        elif flag.startswith(PINNED_POOL_FLAG):
            yield flag, "copies to and from the GPU, at the models' limits"
        else:
            yield flag, "a full batch of the largest Python model, so that its shared memory never has to grow"
    for flag in server_flags(plans, PLUGIN_FOLDER):
        yield flag, "an engine of the plan cannot be loaded without it"
    if response_cache_bytes:
        yield f"--cache-config=local,size={response_cache_bytes}", "a model of the plan caches its answers"


def is_python(model: ModelPlan) -> bool:
    """Whether it runs in processes of the Python backend."""
    return "python" in (model.backend, model.config.get("backend"))


def engine_file_bytes(plan: Plan, project: Project, *, built: bool = False) -> int:
    """Of every engine once: of a built one its ONNX file's, which is rarely smaller. With `built` of those alone.

    Raises OSError.
    """
    programs = [engine.program for engine in plan.engines() if engine.program.is_built or not built]
    return sum(len(program.file_of(program.newest).contents(project)) for program in programs)


def _decoded_bytes(plan: Plan, where: Placed) -> int:
    """Of the largest image that `limits` lets through, in every instance that decodes: one after the other."""
    return sum(
        where.instances(plan, model) * max(map(_decoding_bytes, model.parts()), default=0) * plan.limits.max_pixels
        for model in plan.models
    )


def _decoding_bytes(part: ModelPlan) -> int:
    """Of each pixel; 0 where nothing is decoded."""
    steps = part.program.steps if isinstance(part.program, StepsProgram) else ()
    return max((DECODING_BYTES[given["to"]] for name, given in steps if name == "decode"), default=0)


def _built_bytes(plans: Sequence[Plan], project: Project) -> int:
    """Plans pass through the host's memory on their way to the GPU."""
    return sum(engine_file_bytes(plan, project, built=True) for plan in plans)


def _is_on_cpu(model: ModelPlan) -> bool:
    """Whether all of its instances compute there: a Python model's processes do, on a GPU too."""
    return is_python(model) or all(group.kind == "cpu" for group in groups_of(model.instances, model.config))
