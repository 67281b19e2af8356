"""What a target's machine, pod or server has of memory, against what its pipelines need together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from generator.memory.parts import CUDA_POOL_FLAG, PINNED_POOL_FLAG, GpuMemory, Memory
from generator.memory.plan import memory_of_all
from generator.plan import Plan
from generator.problems import Problem, Severity
from generator.project import Project

MIB = 1 << 20
_FULL = 0.9  # of a GPU's memory: what is measured and not derived has to fit into the rest


def problems_of_memory(plans: Sequence[Plan], project: Project) -> list[Problem]:
    """Of one target's pipelines, which one server serves; nothing is said where no target says what there is.

    Raises OSError where an engine's file cannot be read.
    """
    saying = [plan for plan in plans if plan.target.memory is not None]
    if not saying:
        return []
    memory = memory_of_all(plans, project, {})
    return [problem for plan in saying for problem in _of(plan, memory, len(plans))]


def _of(plan: Plan, memory: Memory, pipelines: int) -> Iterator[Problem]:
    has = plan.target.memory
    if has is None:
        return
    together = "" if pipelines == 1 else f" of {pipelines} pipelines together"
    if has.shm_mib is not None and memory.shm_bytes > has.shm_mib * MIB:
        largest = max(memory.models, key=lambda model: model.instances * model.region_bytes)
        yield _problem(
            "TK240", plan, "shm_mib",
            f"the Python models{together} need {_mib(memory.shm_bytes)} MiB of shared memory when every instance has "
            f"a full batch, `{largest.model}` the most ({largest.instances} x {_mib(largest.region_bytes)} MiB); "
            f"there are {has.shm_mib}",
            f"give it as much (docker run --shm-size={_mib(memory.shm_bytes)}m; sharedMemoryBytes in the chart), or "
            "fewer instances or smaller batches",
        )  # fmt: skip
    for field, said, needed, flag, what in (
        ("cuda_pool_mib", has.cuda_pool_mib, memory.cuda_pool_bytes, f"{CUDA_POOL_FLAG}GPU:", "CUDA"),
        ("pinned_pool_mib", has.pinned_pool_mib, memory.pinned_pool_bytes, PINNED_POOL_FLAG, "pinned"),
    ):  # fmt: skip
        if said is not None and needed > said * MIB:
            yield _problem(
                "TK241", plan, field,
                f"the {what} pool has to hold {needed:,} bytes{together}, and the server is started with {said} "
                "MiB: when a pool is full, answers with wrong data and status 200 were seen",
                f"say `{field}: {_mib(needed)}`, and start the server with {flag}{needed}",
            )  # fmt: skip
    if has.gpu_mib is not None:
        for gpu in memory.gpus():
            yield from _of_gpu(plan, gpu, memory, has.gpu_mib)


def _of_gpu(plan: Plan, gpu: GpuMemory, memory: Memory, gpu_mib: int) -> Iterator[Problem]:
    known = gpu.known_bytes
    if known <= _FULL * gpu_mib * MIB:
        return
    largest = max(gpu.parts, key=lambda part: part.size_bytes)
    of = f"`{largest.model}`" if largest.model else "the server"
    seen = known - gpu.certain_bytes
    is_too_much = gpu.certain_bytes > gpu_mib * MIB
    rest = (
        f"; {_mib(seen)} MiB of what is needed are a bound that was seen on an H200"
        if seen and not is_too_much
        else ""
    )
    rest += f"; and {memory.unknown[0]}" if memory.unknown and known <= gpu_mib * MIB else ""
    yield _problem(
        "TK242", plan, "gpu_mib",
        f"on GPU {gpu.number}, {_mib(known)} MiB are known to be needed, the most for {largest.what} of {of} "
        f"({largest.count} x {_mib(largest.each_bytes)} MiB); there are {gpu_mib}{rest}",
        "fewer instances or slots, a smaller largest batch, or a GPU with more; `tritonkit memory` shows all parts",
        Severity.ERROR if is_too_much else Severity.WARNING,
    )  # fmt: skip


def _problem(  # noqa: PLR0917  (as Problem has them)
    code: str, plan: Plan, field: str, message: str, hint: str, severity: Severity = Severity.ERROR
) -> Problem:  # fmt: skip
    path = ("targets", plan.target.name, "memory", field)
    return Problem(
        code, plan.places(*path), ".".join(path), f"on target `{plan.target.name}`, {message}", hint, severity
    )


def _mib(size: int) -> int:
    """Whole MiB that hold it."""
    return -(-size // MIB)
