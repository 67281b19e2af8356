"""What a server's pools have to hold: tensors that stay on a GPU between models, and copies to and from one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from generator.copies import Sizes
from generator.memory.gpu import Placed, is_python, placed
from generator.memory.parts import POOL_BATCHES, TAKEN_BATCHES, GpuPart
from generator.memory.queues import holds_answers_back, most_waiting
from generator.plan import ModelPlan, Plan, Tensor
from generator.resolve.direct import FORCE_CPU, leaves_on_gpu

_BLOCK_BYTES = 512  # what the pool gives out is whole ones
_SCHEDULED_BATCHES = 3  # of an instance: one runs, two are formed and wait for it (core rate_limiter.cc)


class Pools(NamedTuple):
    """Bytes that a server's pools have to hold: `cuda` by the number of each GPU that is used, `pinned` on the host,
    which is one pool for all of them. `parts`: what is in those of the GPUs.
    """

    cuda: Mapping[int, int]
    pinned: int
    parts: tuple[GpuPart, ...] = ()


class _Step(NamedTuple):
    """A model with the names that its tensors have between models and for clients."""

    model: ModelPlan
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def pools_of(plans: Sequence[Plan], given: Mapping[str, int]) -> Pools:
    """Of all pipelines of one server."""
    where = placed(plans)
    parts = [part for plan in plans for part in _parts(plan, where, given)]
    if _must_have_room(plans, where):
        parts += [part for plan in plans for part in _waiting_parts(plan, where, given)]
    cuda = dict.fromkeys(sorted({number for plan in plans for number in where.gpus(plan)}), 0)
    for part in parts:
        cuda[part.gpu] += part.size_bytes
    return Pools(cuda, sum(_pinned(plan, where, given) for plan in plans), tuple(parts))


def batch_bytes(model: ModelPlan, given: Mapping[str, int]) -> int:
    """Of all inputs and outputs of a full batch."""
    return _full_bytes(model, (*model.inputs, *model.outputs), given)


def unbounded(plans: Sequence[Plan], where: Placed) -> Iterator[str]:
    """What waits in front of a model on a GPU is in the CUDA pool, and where its queue has no bound neither has that.
    In words, with what bounds it; nothing where no Python model depends on the room there.
    """
    if not _must_have_room(plans, where):
        return
    steps = [(plan, step) for plan in plans for step, _ in _waiting(plan, where)]
    for own, step in steps:
        if (why := _why_unbounded(own, step)) is not None:
            yield (
                f"what waits in front of `{step.model.name}` on a GPU: {why[0]}. Beyond what the CUDA pool is "
                "counted with, the server takes host memory, and a Python model answers wrong data: "
                f"{why[1]}, or hand nothing on (`layout: fused`)"
            )


def _full_bytes(model: ModelPlan, tensors: Sequence[Tensor], given: Mapping[str, int]) -> int:
    sizes = Sizes(items=max(1, model.max_batch_size), given=given)
    return sum(sizes.size_bytes(tensor, batched=model.max_batch_size > 0) for tensor in tensors)


def _block_bytes(model: ModelPlan, tensors: Sequence[Tensor], given: Mapping[str, int]) -> int:
    """Of a full batch of requests of one item each, every tensor in whole blocks of the pool."""
    one = Sizes(items=1, given=given)
    sizes = (one.size_bytes(tensor, batched=model.max_batch_size > 0) for tensor in tensors)
    return max(1, model.max_batch_size) * sum(-(-size // _BLOCK_BYTES) * _BLOCK_BYTES for size in sizes)


def _steps(plan: Plan) -> list[_Step]:
    """Those of the ensemble; without one every model is called by clients."""
    if plan.ensemble is not None:
        by_name = {model.name: model for model in plan.models}
        return [_Step(by_name[step.model], step.inputs, step.outputs) for step in plan.ensemble.steps]
    return [
        _Step(model, {t.name: t.name for t in model.inputs}, {t.name: t.name for t in model.outputs})
        for model in plan.models
    ]


def _keeps_on_gpu(plan: Plan, model: ModelPlan, where: Placed) -> bool:
    """Whether its tensors stay on a GPU: a native backend's; a Python model's where it asks for that."""
    asked = model.parameters.get(FORCE_CPU) == "no"
    return where.is_on_gpu(plan, model) and (asked or not is_python(model))


def _made_on_gpu(plan: Plan, where: Placed) -> set[str]:
    """What steps of an ensemble leave on a GPU, by the ensemble's names."""
    steps = _steps(plan) if plan.ensemble is not None else ()
    return {name for step in steps if _keeps_on_gpu(plan, step.model, where) for name in step.outputs.values()}


def _parts(plan: Plan, where: Placed, given: Mapping[str, int]) -> Iterator[GpuPart]:
    """What is in the pools of the GPUs.

    Of a native backend on a GPU that is every output of an ensemble's step, those that are the ensemble's own too:
    the ensemble allocates them like the others, and they are copied to the client when it is through. What a Python
    model takes from a GPU, or gives to a client's region there, the server copies into its pool and out of it.
    """
    outer = {tensor.name for tensor in plan.outputs} if plan.ensemble else None
    sent = {tensor.name for tensor in plan.inputs} if plan.ensemble else None
    made = _made_on_gpu(plan, where)
    for model, inputs, outputs in _steps(plan):
        python = is_python(model)
        found: list[tuple[str, int, int]] = []
        keeps = _keeps_on_gpu(plan, model, where)
        if keeps and outer is not None:
            # What no other step takes a Python model has on the host, unless its code puts it elsewhere.
            names = {own for own, name in outputs.items() if not (name in outer and python)}
            kept = [tensor for tensor in model.outputs if tensor.name in names]
            found.append(("outputs of a step", POOL_BATCHES, _full_bytes(model, kept, given)))
        if keeps and python:
            taken = [
                tensor for tensor in model.inputs
                if tensor.dtype != "STRING" and (sent is None or inputs.get(tensor.name) in sent | made)
            ]  # fmt: skip
            found.append(("inputs from a GPU", TAKEN_BATCHES, _block_bytes(model, taken, given)))
        if leaves_on_gpu(model):
            answers = [t for t in model.outputs if outer is None or outputs.get(t.name) in outer]
            found.append(("answers to a client's GPU", TAKEN_BATCHES, _block_bytes(model, answers, given)))
        for number, count in sorted(where.on(plan, model).items()):
            yield from (
                GpuPart(number, model.name, what, batches * count, size, "derived")
                for what, batches, size in found if size
            )  # fmt: skip


def _waiting_parts(plan: Plan, where: Placed, given: Mapping[str, int]) -> Iterator[GpuPart]:
    """What may wait on a GPU in front of models whose queues have a bound, each request with a full batch."""
    makers = {name: step.model for step in _steps(plan) for name in step.outputs.values()}
    for step, names in _waiting(plan, where):
        most = most_waiting(step.model)
        if most is None or _why_unbounded(plan, step) is not None:
            continue
        count = most + _SCHEDULED_BATCHES * where.instances(plan, step.model) + 1  # and the batch that is formed now
        for name in names:
            tensors = [tensor for tensor in step.model.inputs if step.inputs.get(tensor.name) == name]
            size = _full_bytes(step.model, tensors, given)
            for number in sorted(where.on(plan, makers[name])):
                yield GpuPart(number, step.model.name, f"`{name}`, waiting", count, size, "derived")


def _waiting(plan: Plan, where: Placed) -> Iterator[tuple[_Step, list[str]]]:
    """Steps that take what other steps leave on a GPU, and the names of that."""
    made = _made_on_gpu(plan, where)
    for step in _steps(plan):
        if names := sorted(made & set(step.inputs.values())):
            yield step, names


def _must_have_room(plans: Sequence[Plan], where: Placed) -> bool:
    """Whether a Python model takes such tensors from a GPU: all that is in the pool of the server has to fit then.

    Others read right what found no room and went to the host.
    """
    return any(
        is_python(step.model) and _keeps_on_gpu(plan, step.model, where)
        for plan in plans for step, _ in _waiting(plan, where)
    )  # fmt: skip


def _why_unbounded(plan: Plan, step: _Step) -> tuple[str, str] | None:
    """Why any number of batches may be in the pool before a step, and what mends it; None where that has a bound."""
    for other in _steps(plan):
        if set(step.inputs.values()) & set(other.outputs.values()) and holds_answers_back(other.model):
            return (
                f"`{other.model.name}` keeps the order of its answers, and nothing bounds those that wait for one",
                f"say `preserve_ordering: false` in the `batching` of `{other.model.name}`",
            )
    if most_waiting(step.model) is None:
        return (
            "nothing bounds how many requests wait in its queue",
            f"say `queue: {{max_size: N}}` in the `batching` of `{step.model.name}`, from which the pool is derived",
        )
    return None


def _pinned(plan: Plan, where: Placed, given: Mapping[str, int]) -> int:
    """Of the host, where there is a GPU: what native backends copy through pinned memory, and what an ensemble keeps
    of its steps' instances on the host.
    """
    native = [model for model in plan.models if not is_python(model)]
    pinned = sum(2 * sum(where.on(plan, model).values()) * batch_bytes(model, given) for model in native)
    if plan.ensemble is None or not where.gpus(plan):
        return pinned
    outer = {tensor.name for tensor in plan.ensemble.outputs}
    for model, _, outputs in _steps(plan):
        on = where.on(plan, model) if _keeps_on_gpu(plan, model, where) else {}
        inner = [tensor for tensor in model.outputs if (name := outputs.get(tensor.name)) and name not in outer]
        pinned += (where.instances(plan, model) - sum(on.values())) * POOL_BATCHES * _full_bytes(model, inner, given)
    return pinned
