"""How many requests can wait in front of a model, as its queue's policy says it: in the spec's words or Triton's."""

from __future__ import annotations

from collections.abc import Mapping

from generator.plan import ModelPlan


def most_waiting(model: ModelPlan) -> int | None:
    """Requests in the queue of its dynamic batcher at most, in all priority levels; None where nothing bounds them.

    A policy's `max_queue_size` refuses what comes beyond it, level by level (core scheduler_utils.cc). A timeout is
    no bound: any number of requests may come before it. Without a dynamic batcher there is no policy.
    """
    said = model.config.get("dynamic_batching")
    if isinstance(said, Mapping):
        return _in_tritons_words(said)
    batching = model.batching
    if batching is None or not batching.dynamic:
        return None
    priorities, own = batching.priorities, batching.queue
    levels = range(1, priorities.levels + 1) if priorities is not None else (0,)
    queues = [priorities.queues.get(level, own) if priorities is not None else own for level in levels]
    sizes = [queue.max_size if queue is not None else 0 for queue in queues]
    return sum(sizes) if all(sizes) else None


def holds_answers_back(model: ModelPlan) -> bool:
    """Whether answers of several instances wait until those before them are there."""
    said = model.config.get("dynamic_batching")
    if isinstance(said, Mapping):
        ordered = said.get("preserve_ordering") is True
    else:
        ordered = model.batching is not None and model.batching.preserve_ordering
    return ordered and model.instance_count() > 1


def _in_tritons_words(said: Mapping[str, object]) -> int | None:
    """Of one level alone: what several have together is not counted here."""
    policy = said.get("default_queue_policy")
    size = policy.get("max_queue_size") if isinstance(policy, Mapping) else None
    is_number = isinstance(size, int) and not isinstance(size, bool) and size > 0
    return size if is_number and isinstance(size, int) and not said.get("priority_levels") else None
