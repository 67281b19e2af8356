"""Plans -> Memory: what is derived from shapes and counts, and what from files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from generator.copies import Sizes
from generator.memory.estimates import estimates_of
from generator.memory.gpu import Placed, gpu_parts, is_python, placed
from generator.memory.parts import MIN_REGION_BYTES, Memory, ModelMemory
from generator.memory.pools import batch_bytes, pools_of, unbounded
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
    unknown += [text for plan in plans for text in _unknown_on_hosts(plan, where)]
    unknown += unbounded(plans, where)
    return Memory(
        tuple(models), pools.cuda, pools.pinned, tuple(assumed), tuple(dict.fromkeys(unknown)), tuple(parts),
        pools.parts, tuple(dict.fromkeys(str(found) for plan in plans for found in estimates_of(plan, where))),
    )  # fmt: skip


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
    instances, on = where.instances(plan, model), where.on(plan, model)
    on_cpu = instances - sum(on.values())
    rings = {ring.engine.key: ring for ring in rings_of(plan, model)}
    shared = {key: ring for key, ring in rings.items() if ring.is_shared}
    places = where.places(plan, model)
    files = shared_files = 0
    for part in model.parts():
        if isinstance(part.program, EngineProgram) and not part.program.is_built:
            size = len(part.program.file_of(part.program.newest).contents(project))
            files, shared_files = (files, shared_files + size) if part.key in shared else (files + size, shared_files)
    return ModelMemory(
        model.name, instances, batch_bytes(model, given), region_bytes(model, given), files,
        instances if is_python(model) else 1,
        sum(ring.rows_bytes if ring.is_shared else ring.pinned_bytes for ring in rings.values()) if on else 0,
        places * len(shared),
        sum(len(on) * ring.pinned_bytes + (on_cpu > 0) * ring.plain_bytes for ring in shared.values()),
        places * shared_files,
        on_cpu,
        sum(ring.rows_bytes if ring.is_shared else ring.plain_bytes for ring in rings.values()) if on_cpu else 0,
    )  # fmt: skip


def _unknown_on_hosts(plan: Plan, where: Placed) -> Iterator[str]:
    """What no file says of engines that run on the host."""
    for engine in plan.engines():
        if not where.is_on_gpu(plan, engine.model):
            what = "for its file, activations" if engine.program.is_built else "beside its file, for activations"
            yield f"what `{engine.part.name}` takes on the host {what} and workspace is measured, not derived"
    for model in plan.models:
        if any(isinstance(part.program, PythonProgram) for part in model.parts()):
            yield f"what the class of `{model.name}` holds is its own"
