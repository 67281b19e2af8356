"""What pipelines need from their server: every number follows from the Plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deploy.embedded.flags import MIN_SHM_BYTES, ServerNeeds
from deploy.operations.drain import longest_of
from generator.memory import CUDA_POOL_BYTES, PINNED_POOL_BYTES, placed, pools_of, region_bytes
from generator.memory.gpu import Placed
from generator.plan import EnsemblePlan, ModelPlan, Plan

MAX_SHM_BYTES = 64 << 20  # of one instance at start; it grows when a batch of large images needs more
UNKNOWN_SHM_BYTES = 8 << 20  # where no spec says what the tensors are
RESPONSE_CACHE_BYTES = 64 << 20
# What can change the server or read other clients' memory. Reading configurations and statistics stays open, since
# the server listens on loopback alone and clients ask for a pipeline's contract.
RESTRICTED = ("shared-memory", "model-repository", "trace", "logging")


def needs_of(plans: Sequence[Plan]) -> ServerNeeds:
    """The needs of all pipelines of one server."""
    models = [model for plan in plans for model in plan.models]
    # Of a model of `files` only its `config` names the backend.
    python = [
        (plan, model) for plan in plans for model in plan.models
        if "python" in (model.backend, model.config.get("backend"))
    ]  # fmt: skip
    where = placed(plans)
    shm_bytes = max((_shm_bytes(model) for _, model in python), default=MIN_SHM_BYTES)
    in_flight = max((_in_flight(plan, where) for plan in plans), default=1)
    ensembles = [plan.ensemble for plan in plans if plan.ensemble is not None]
    cached = any(map(_caches, models)) or any(map(_caches, ensembles))
    pools = pools_of(plans, {})
    pooled = any(pools.cuda.values())  # tensors stay on a GPU between models: the server itself has to use it
    return ServerNeeds(
        python_instances=sum(where.instances(plan, model) for plan, model in python),
        most_instances_of_a_model=max(
            (where.instances(plan, model) for plan in plans for model in plan.models), default=1
        ),
        shm_default_bytes=shm_bytes,
        shm_growth_bytes=min(shm_bytes, 8 << 20),
        shm_full_bytes=sum(where.instances(plan, model) * region_bytes(model, {}) for plan, model in python),
        http_threads=min(32, max(8, in_flight // 8)),
        grpc_infer_pool=min(256, max(8, in_flight)),
        gpus=tuple(pools.cuda) if pooled else (),
        cuda_memory_pool_bytes={gpu: max(CUDA_POOL_BYTES, size) for gpu, size in pools.cuda.items()} if pooled else 0,
        pinned_pool_bytes=max(PINNED_POOL_BYTES, pools.pinned) if pooled else 0,
        cuda_pool_needed_bytes=pools.cuda,
        pinned_pool_needed_bytes=pools.pinned if pooled else 0,
        response_cache_bytes=RESPONSE_CACHE_BYTES if cached else 0,
        load_threads=min(16, max(4, len(models))),
        longest_request_ms=longest_of(plans),
        restricted_apis=RESTRICTED,
    )


def needs_of_repository(repository: Path, gpus: int = 0) -> ServerNeeds:
    """The needs of a repository that no spec is known for: its Python models with 8 MiB an instance.

    On a machine with so many `gpus` a group of kind GPU, or of no kind, that names none has its instances on each; so
    has the one of a model without a group.
    """
    from generator.pbtxt.reader import read

    instances = [1]
    for file in repository.glob("*/config.pbtxt"):
        config = read(file.read_bytes(), str(file)).message
        # Of a file that cannot be read the server says what is wrong, better than a count could.
        if config is not None and config.backend == "python":
            on = [len(group.gpus) or gpus if group.kind in (group.KIND_GPU, group.KIND_AUTO) else 1
                  for group in config.instance_group]  # fmt: skip
            counts = [max(1, group.count) for group in config.instance_group]
            instances.append(
                sum(count * max(1, many) for count, many in zip(counts, on, strict=True)) or max(1, gpus)
            )
    return ServerNeeds(
        python_instances=sum(instances) - 1 or 1,
        most_instances_of_a_model=max(instances),
        shm_default_bytes=UNKNOWN_SHM_BYTES,
        shm_growth_bytes=8 << 20,
        restricted_apis=RESTRICTED,
    )


def for_updates(needs: ServerNeeds) -> ServerNeeds:
    """The same for a server that loads and unloads models while it serves; at its start it loads all there are.

    Whoever has its key may do that, and loading a model is running code. Triton takes the key only as a flag, which
    every user of the machine can read.
    """
    return replace(needs, control_mode="explicit", load_models=("*",))


def _caches(model: ModelPlan | EnsemblePlan) -> bool:
    """Whether its answers are cached, which `config` may say too."""
    said = model.config.get("response_cache")
    return model.response_cache or (isinstance(said, Mapping) and said.get("enable") is True)


def _shm_bytes(model: ModelPlan) -> int:
    """What `tritonkit memory` says of one instance, up to what it starts with at most."""
    if not (model.inputs or model.outputs):
        return UNKNOWN_SHM_BYTES
    return min(MAX_SHM_BYTES, region_bytes(model, {}))


def _in_flight(plan: Plan, where: Placed) -> int:
    """Requests that keep every instance of the busiest model in full batches, and one batch waiting."""
    return max(max(1, model.max_batch_size) * (where.instances(plan, model) + 1) for model in plan.models)
