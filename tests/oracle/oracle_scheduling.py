"""Mutations of how a Python model is scheduled: batching, priorities, the cache, instances, versions."""

from __future__ import annotations

from random import Random

from oracle_mutations import on
from oracle_repository import Model


@on(12, weight=2)
def preferred(random: Random, model: Model) -> str:
    size = max(model.config.max_batch_size, 0)
    where = model.config.dynamic_batching
    if model.config.HasField("sequence_batching"):
        where = model.config.sequence_batching.oldest
    way = random.choice((0, -1, 1, size, size + 1, size - 1, 2**31 - 1, size // 2))
    where.SetInParent()
    if random.random() < 0.5:
        del where.preferred_batch_size[:]
    where.preferred_batch_size.append(way)
    return f"preferred size {way} of {size}"


@on(13, weight=4)
def priorities(random: Random, model: Model) -> str:
    if model.config.HasField("sequence_batching"):
        return ""
    batching = model.config.dynamic_batching
    levels = random.choice((0, 1, 2, 3))
    batching.priority_levels = levels
    batching.default_priority_level = max(0, random.choice((0, 1, levels, levels, levels + 1, levels - 1)))
    if random.random() < 0.5:
        batching.priority_queue_policy[random.choice((0, 1, levels, levels + 1, 2**64 - 1))].max_queue_size = 3
    batching.SetInParent()
    return f"{levels} priority levels, default {batching.default_priority_level}"


@on(14, weight=3.5)
def ordering(random: Random, model: Model) -> str:
    if model.config.HasField("sequence_batching"):
        return ""
    batching = model.config.dynamic_batching
    batching.preserve_ordering = random.random() < 0.85
    batching.priority_levels = random.choice((0, 0, 1, 2, batching.priority_levels))
    batching.default_priority_level = min(1, batching.priority_levels)
    keys = [key for key in sorted(batching.priority_queue_policy) if not 1 <= key <= batching.priority_levels]
    for key in keys:
        del batching.priority_queue_policy[key]
    policies = [batching.default_queue_policy]
    if batching.priority_levels:
        policies.append(batching.priority_queue_policy[1])
    for policy in random.sample(policies, random.randint(0, len(policies))):
        policy.timeout_action = random.choice((0, 1, 1))
        policy.default_timeout_microseconds = random.choice((0, 1, 1000))
    return f"preserve_ordering with {batching.priority_levels} levels"


@on(15, weight=3)
def cached(random: Random, model: Model) -> str:
    model.config.response_cache.enable = random.random() < 0.8
    way = random.choice(("nothing", "decoupled", "decoupled", "sequence", "dynamic"))
    if way == "decoupled":
        model.config.model_transaction_policy.decoupled = random.random() < 0.7
    elif way == "sequence":
        model.config.sequence_batching.SetInParent()
    elif way == "dynamic":
        model.config.dynamic_batching.SetInParent()
    return f"response_cache {model.config.response_cache.enable} and {way}"


@on(18, weight=4)
def groups(random: Random, model: Model) -> str:
    group = model.config.instance_group.add() if random.random() < 0.4 else None
    if group is None:
        if not model.config.instance_group:
            return ""
        group = random.choice(list(model.config.instance_group))
    group.kind = random.choice((0, 1, 1, 2, 2, 3))
    way = random.choice(("gpus", "profile", "count", "passive", "name", "policy", "kind", "kind", "secondary"))
    if way == "gpus":
        group.gpus.extend(random.choice(([0], [0, 1], [-1], [])))
    elif way == "profile":
        group.profile.append(random.choice(("0", "-1", "x", "")))
    elif way == "count":
        group.count = random.choice((-1, 0, 1, 2))
    elif way == "passive":
        group.passive = True
    elif way == "policy":
        group.host_policy = random.choice(("cpu", "none", ""))
    elif way == "secondary":
        group.secondary_devices.add(device_id=0)
    else:
        group.name = random.choice(("", "g", model.config.instance_group[0].name))
    return f"instance group: {way}, kind {group.kind}"


@on(23, weight=2)
def resources(random: Random, model: Model) -> str:
    while len(model.config.instance_group) < random.choice((1, 2)):
        model.config.instance_group.add(kind=random.choice((2, 2, 3)), count=1)
    for group in model.config.instance_group:
        for _ in range(random.choice((1, 1, 2))):
            found = group.rate_limiter.resources.add(
                name=random.choice(("R1", "R2", "")), count=random.choice((0, 1, 9))
            )
            setattr(found, "global", random.random() < 0.5)
    return "resources of the rate limiter"


@on(3, weight=1.5)
def policies(random: Random, model: Model) -> str:
    policy = model.config.version_policy
    way = random.choice(("latest", "specific", "specific", "specific", "all", "empty"))
    if way == "latest":
        policy.latest.num_versions = random.choice((0, 1, 2, 2**32 - 1))
    elif way == "specific":
        policy.specific.versions[:] = random.choice(([1], [2], [1, 2], [9], [], [-1], [1, 1]))
        policy.specific.SetInParent()
    elif way == "all":
        policy.all.SetInParent()
    else:
        model.config.ClearField("version_policy")
        policy.SetInParent()
    return f"version policy {way}"


@on(33, weight=4)
def force_cpu(random: Random, model: Model) -> str:
    value = random.choice(("yes", "no", "yes", "no", "Yes", "true", "", "no "))
    model.config.parameters["FORCE_CPU_ONLY_INPUT_TENSORS"].string_value = value
    return f"FORCE_CPU_ONLY_INPUT_TENSORS {value!r}"


@on(30, weight=1.5)
def decouple(random: Random, model: Model) -> str:
    model.config.model_transaction_policy.decoupled = True
    return "decoupled"


@on(24, weight=0.7)
def scheduling_of_an_ensemble(random: Random, model: Model) -> str:
    """A Python model that says how an ensemble runs."""
    model.config.ensemble_scheduling.SetInParent()
    if random.random() < 0.5:
        model.config.platform, model.config.backend = "ensemble", ""
    return "ensemble_scheduling in a model"
