"""Plans -> Memory: what is derived from shapes and counts, and what from files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from generator.copies import Sizes
from generator.memory.gpu import Placed, gpu_parts, placed
from generator.memory.parts import MIN_REGION_BYTES, POOL_BATCHES, Memory, ModelMemory
from generator.memory.rings import rings_of
from generator.plan import EngineProgram, ModelPlan, Plan, PythonProgram
from generator.project import Project

_HEADERS_BYTES = 64 << 10  # of the region itself, and of the requests in it
_BATCHES = 2  # in a region: one at work, and the answers of the one before it, until they are copied out


def memory_of(plan: Plan, project: Project, given: Mapping[str, int]) -> Memory:
    """What `plan` needs on a server of its own. `given` as in `Sizes`.

    Raises OSError where an engine's file cannot be read.
    """
    return memory_of_all([plan], project, given)


def memory_of_all(plans: Sequence[Plan], project: Project, given: Mapping[str, int]) -> Memory:
    """What all pipelines of one server need. Raises OSError where an engine's file cannot be read."""
    where = placed(plans)
    models = [_model(plan, model, where, project, given) for plan in plans for model in plan.models]
    pools = pools_of(plans, given)
    tensors = {(plan.name, t.name): t for plan in plans for m in plan.models for t in (*m.inputs, *m.outputs)}
    assumed = dict.fromkeys(text for t in tensors.values() if (text := Sizes(given=given).assumption(t)))
    parts, unknown = gpu_parts(plans, where, project, pools.cuda)
    unknown += [text for plan in plans for text in (*_unknown_on_hosts(plan, where), *_waits_on_gpu(plan, where))]
    return Memory(
        tuple(models), pools.cuda, pools.pinned, tuple(assumed), tuple(dict.fromkeys(unknown)), tuple(parts),
    )  # fmt: skip


def batch_bytes(model: ModelPlan, given: Mapping[str, int]) -> int:
    """Of all inputs and outputs of a full batch."""
    sizes = Sizes(items=max(1, model.max_batch_size), given=given)
    return sum(
        sizes.size_bytes(tensor, batched=model.max_batch_size > 0) for tensor in (*model.inputs, *model.outputs)
    )


def is_python(model: ModelPlan) -> bool:
    """Whether it runs in processes of the Python backend; of a model of `files` only `config` says so."""
    return "python" in (model.backend, model.config.get("backend"))


def region_bytes(model: ModelPlan, given: Mapping[str, int]) -> int:
    """The shared memory of one instance of a Python model; 0 of any other."""
    if not is_python(model):
        return 0
    return max(MIN_REGION_BYTES, _round_up(_BATCHES * batch_bytes(model, given) + _HEADERS_BYTES))


def _round_up(size: int) -> int:
    """To whole MiB."""
    return -(-size // MIN_REGION_BYTES) * MIN_REGION_BYTES


def _model(
    plan: Plan, model: ModelPlan, where: Placed, project: Project, given: Mapping[str, int]
) -> ModelMemory:  # fmt: skip
    instances = where.instances(plan, model)
    files = 0
    for part in model.parts():
        if isinstance(part.program, EngineProgram) and not part.program.is_built:
            files += len(part.program.file_of(part.program.newest).contents(project))
    return ModelMemory(
        model.name, instances, batch_bytes(model, given), region_bytes(model, given), files,
        instances if is_python(model) else 1, sum(ring.pinned_bytes for ring in rings_of(plan, model)),
    )  # fmt: skip


class Pools(NamedTuple):
    """Bytes that a server's pools have to hold: `cuda` by the number of each GPU that is used, `pinned` on the host,
    which is one pool for all of them.
    """

    cuda: Mapping[int, int]
    pinned: int


def pools_of(plans: Sequence[Plan], given: Mapping[str, int]) -> Pools:
    """Of all pipelines of one server."""
    where = placed(plans)
    cuda = dict.fromkeys(sorted({number for plan in plans for number in where.gpus(plan)}), 0)
    pinned = 0
    for plan in plans:
        own = _pools(plan, where, given)
        pinned += own.pinned
        for number, size in own.cuda.items():
            cuda[number] += size
    return Pools(cuda, pinned)


def _keeps_on_gpu(plan: Plan, model: ModelPlan, where: Placed) -> bool:
    """Whether its tensors stay on a GPU: a native backend's; a Python model's where it asks for that."""
    asked = model.parameters.get("FORCE_CPU_ONLY_INPUT_TENSORS") == "no"
    return where.is_on_gpu(plan, model) and (asked or not is_python(model))


def _pools(plan: Plan, where: Placed, given: Mapping[str, int]) -> Pools:
    """Of each GPU, and of the host where there is one: what native backends copy through pinned memory, and what an
    ensemble keeps of its steps, on a GPU or (of instances on the host) in the pinned pool.

    Of a native backend on a GPU that is every output, those that are the ensemble's own too: the ensemble allocates
    them like the others, and they are copied to the client when it is through.
    """
    native = [model for model in plan.models if not is_python(model)]
    pinned = sum(2 * sum(where.on(plan, model).values()) * batch_bytes(model, given) for model in native)
    cuda = dict.fromkeys(where.gpus(plan), 0)
    if plan.ensemble is None or not cuda:
        return Pools(cuda, pinned)
    by_name = {model.name: model for model in plan.models}
    outer = {tensor.name for tensor in plan.ensemble.outputs}
    for step in plan.ensemble.steps:
        model = by_name[step.model]
        on = where.on(plan, model) if _keeps_on_gpu(plan, model, where) else {}
        on_host = where.instances(plan, model) - sum(on.values())
        sizes = Sizes(items=max(1, model.max_batch_size), given=given)
        for tensor in model.outputs:
            name = step.outputs.get(tensor.name)
            kept = POOL_BATCHES * sizes.size_bytes(tensor, batched=model.max_batch_size > 0)
            # What no other step takes a Python model has on the host, unless its code puts it elsewhere.
            if name and not (name in outer and is_python(model)):
                for number, count in on.items():
                    cuda[number] += count * kept
            if name and name not in outer:
                pinned += on_host * kept
    return Pools(cuda, pinned)


def _waits_on_gpu(plan: Plan, where: Placed) -> Iterator[str]:
    """Of Python models that take tensors from a GPU: what waits for them is in the CUDA pool too, without a bound."""
    on_gpu = {model.name for model in plan.models if _keeps_on_gpu(plan, model, where)}
    steps = plan.ensemble.steps if plan.ensemble else ()
    made = {name for step in steps if step.model in on_gpu for name in step.outputs.values()}
    python = {model.name for model in plan.models if is_python(model)}
    for step in steps:
        if step.model in on_gpu & python and made & set(step.inputs.values()):
            yield (
                f"what waits in front of `{step.model}` on a GPU: beyond the {POOL_BATCHES} batches an instance that "
                "the CUDA pool is counted with, the server takes host memory, and a Python model answers wrong data"
            )


def _unknown_on_hosts(plan: Plan, where: Placed) -> Iterator[str]:
    """What no file says of engines that run on the host."""
    for engine in plan.engines():
        if not where.is_on_gpu(plan, engine.model):
            what = "for its file, activations" if engine.program.is_built else "beside its file, for activations"
            yield f"what `{engine.part.name}` takes on the host {what} and workspace is measured, not derived"
    for model in plan.models:
        if any(isinstance(part.program, PythonProgram) for part in model.parts()):
            yield f"what the class of `{model.name}` holds is its own"
