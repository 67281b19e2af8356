"""What pipelines need from their server: every number follows from the Plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deploy.embedded.flags import MIN_SHM_BYTES, ServerNeeds
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
    python = [model for model in models if "python" in (model.backend, model.config.get("backend"))]
    shm_bytes = max((_shm_bytes(model) for model in python), default=MIN_SHM_BYTES)
    in_flight = max((_in_flight(plan) for plan in plans), default=1)
    ensembles = [plan.ensemble for plan in plans if plan.ensemble is not None]
    cached = any(map(_caches, models)) or any(map(_caches, ensembles))
    return ServerNeeds(
        python_instances=sum(model.instance_count() for model in python),
        most_instances_of_a_model=max((model.instance_count() for model in models), default=1),
        shm_default_bytes=shm_bytes,
        shm_growth_bytes=min(shm_bytes, 8 << 20),
        http_threads=min(32, max(8, in_flight // 8)),
        grpc_infer_pool=min(256, max(8, in_flight)),
        response_cache_bytes=RESPONSE_CACHE_BYTES if cached else 0,
        load_threads=min(16, max(4, len(models))),
        longest_request_ms=max((longest_request_ms(plan) for plan in plans), default=30_000.0),
        restricted_apis=RESTRICTED,
    )


def needs_of_repository(repository: Path) -> ServerNeeds:
    """The needs of a repository that no spec is known for: its Python models with 8 MiB an instance."""
    from generator.pbtxt.reader import read

    instances = [1]
    for file in repository.glob("*/config.pbtxt"):
        config = read(file.read_bytes(), str(file)).message
        # Of a file that cannot be read the server says what is wrong, better than a count could.
        if config is not None and config.backend == "python":
            instances.append(sum(max(1, group.count) for group in config.instance_group) or 1)
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
    """Room for one batch in flight and one being put together, a power of two."""
    if not (model.inputs or model.outputs):
        return UNKNOWN_SHM_BYTES
    wanted = 2 * model.batch_bytes()
    return min(MAX_SHM_BYTES, max(MIN_SHM_BYTES, 1 << (wanted - 1).bit_length()))


def _in_flight(plan: Plan) -> int:
    """Requests that keep every instance of the busiest model in full batches, and one batch waiting."""
    return max(max(1, model.max_batch_size) * (model.instance_count() + 1) for model in plan.models)


def longest_request_ms(plan: Plan) -> float:
    """How long a request may take from its arrival: every queue's timeout, and ten times the objective to run.

    30 s where a queue has no timeout or the spec no objective.
    """
    timeouts_us = [m.batching.queue.timeout_us if m.batching and m.batching.queue else 0 for m in plan.models]
    if plan.objective is None or not all(timeouts_us):
        return 30_000.0
    return sum(timeouts_us) / 1000 + 10 * plan.objective.p99_ms
