"""Which friendly name of a spec sets which field of ModelConfig."""

from __future__ import annotations

from collections.abc import Iterable

from generator.plan import Plan
from generator.problems import Place

Path = tuple[str | int, ...]

# ModelConfig field (without indices and map keys) -> the spec's name, counted from the model; the longest match
# counts. The tests show that each entry is real.
MODEL_OWNERS = {
    "name": "name",
    "platform": "engine",
    "backend": "engine",
    "version_policy": "versions",
    "version_policy.latest": "versions.latest",
    "version_policy.all": "versions.all",
    "version_policy.specific": "versions.specific",
    "max_batch_size": "batching.max_batch_size",
    "input": "inputs",
    "output": "outputs",
    "optimization.cuda": "cuda_graphs",
    "optimization.cuda.busy_wait_events": "cuda_graphs.busy_wait_events",
    "optimization.cuda.output_copy_stream": "cuda_graphs.output_copy_stream",
    "optimization.cuda.graph_spec": "cuda_graphs.batch_sizes",
    "dynamic_batching": "batching",
    "dynamic_batching.preferred_batch_size": "batching.preferred",
    "dynamic_batching.max_queue_delay_microseconds": "batching.max_queue_delay_us",
    "dynamic_batching.preserve_ordering": "batching.preserve_ordering",
    "dynamic_batching.priority_levels": "batching.priorities.levels",
    "dynamic_batching.default_priority_level": "batching.priorities.default",
    "dynamic_batching.priority_queue_policy": "batching.priorities.queues",
    "dynamic_batching.default_queue_policy": "batching.queue",
    "dynamic_batching.default_queue_policy.timeout_action": "batching.queue.on_timeout",
    "dynamic_batching.default_queue_policy.default_timeout_microseconds": "batching.queue.timeout_us",
    "dynamic_batching.default_queue_policy.allow_timeout_override": "batching.queue.allow_override",
    "dynamic_batching.default_queue_policy.max_queue_size": "batching.queue.max_size",
    "instance_group": "instances",
    "parameters": "parameters",
    "model_warmup": "warmup",
    "response_cache": "response_cache",
    "model_metrics": "metrics.latency_buckets_ms",
}
ENSEMBLE_OWNERS = {
    "name": "name",
    "platform": "flow",
    "max_batch_size": "batching.max_batch_size",
    "input": "inputs",
    "output": "outputs",
    "ensemble_scheduling": "flow",
    "response_cache": "response_cache",
    "model_metrics": "metrics.latency_buckets_ms",
}


def owner(owners: dict[str, str], slot: Iterable[str | int]) -> str | None:
    """The friendly name of the field at `slot`, such as `batching.queue.max_size`; None where there is none."""
    words = [part for part in slot if isinstance(part, str)]
    for length in range(len(words), 0, -1):
        found = owners.get(".".join(words[:length]))
        if found is not None:
            return found
    return None


def find_place(plan: Plan, source: Path, friendly: str) -> Place | None:
    """Where `friendly` is written: in the target, at the model, or at the top; None where it is a default."""
    path: Path = tuple(friendly.split("."))
    for full in (("targets", plan.target.name, *path), (*source, *path), path):
        place = plan.places(*full)
        # `places` answers with the nearest ancestor for what nobody wrote.
        if place != plan.places(*full[:-1]):
            return place
    return None
