"""How a model is served, in a spec's words. Each function takes what it can say out of the message that is left.

Nothing is said by halves: where a spec has no words for a part of a message, all of it is left for `config:`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from generator.adopt.repository import Found, unset
from generator.adopt.words import words_of
from generator.config.model import LATENCY_FAMILY
from generator.spec.serving import Batching, CudaGraphs, InstanceGroup, Metrics, Versions, Warmup

Words = dict[str, Any]
_GROUPS = TypeAdapter(list[InstanceGroup])


def batching_of(rest: Any) -> Words | None:
    """`batching`, which a model of a flow always says; None for a size that a spec does not take."""
    size = rest.max_batch_size
    plain: Words = {"max_batch_size": size}
    if not _is(Batching, plain):
        return None
    unset(rest, "max_batch_size")
    if size == 0:
        return plain
    if rest.HasField("dynamic_batching"):
        said = _dynamic(words_of(rest.dynamic_batching))
        if said is not None and _is(Batching, plain | said):
            unset(rest, "dynamic_batching")
            return plain | said
    return plain | {"dynamic": False}


def _dynamic(words: Words) -> Words | None:
    """The fields of `batching` that give this DynamicBatching; None where they cannot."""
    simple = {
        "preferred_batch_size": "preferred",
        "max_queue_delay_microseconds": "max_queue_delay_us",
        "preserve_ordering": "preserve_ordering",
    }
    said = {ours: words.pop(theirs) for theirs, ours in simple.items() if theirs in words}
    if "default_queue_policy" in words:
        said["queue"] = _queue(words.pop("default_queue_policy"))
    if "priority_levels" in words:
        levels = {level: _queue(policy) for level, policy in words.pop("priority_queue_policy", {}).items()}
        said["priorities"] = {
            "levels": words.pop("priority_levels"),
            "default": words.pop("default_priority_level", 0),
        }
        said["priorities"] |= {"queues": levels} if levels else {}
    return None if words else said


def _queue(policy: Words) -> Words:
    names = {
        "default_timeout_microseconds": "timeout_us",
        "allow_timeout_override": "allow_override",
        "max_queue_size": "max_size",
    }
    said = {names.get(name, name): value for name, value in policy.items()}
    if "timeout_action" in said:
        said["on_timeout"] = str(said.pop("timeout_action")).lower()
    return said


def instances_of(rest: Any) -> list[Words]:
    """`instances`; none where a group says what a spec does not."""
    groups = []
    for group in rest.instance_group:
        words = words_of(group)
        kind = str(words.pop("kind", "KIND_AUTO")).removeprefix("KIND_").lower()
        groups.append({"kind": kind, "count": words.pop("count", 0)} | words)
    try:
        _GROUPS.validate_python(groups)
    except ValidationError:
        return []
    unset(rest, "instance_group")
    return groups


def versions_of(rest: Any, there: list[int]) -> Words | None:
    """`versions`; None where there is no policy, or one that names versions that are not there."""
    policy = words_of(rest.version_policy) if rest.HasField("version_policy") else {}
    said: Words = {}
    if "all" in policy:
        said = {"all": True}
    elif "latest" in policy:
        said = {"latest": policy["latest"].get("num_versions", 0)}
    elif "specific" in policy:
        said = {"specific": policy["specific"].get("versions", [])}
        if not said["specific"] or not set(said["specific"]) <= set(there):
            return None
    if not _is(Versions, said):
        return None
    unset(rest, "version_policy")
    return said


def warmup_of(rest: Any, inputs: Mapping[str, Words], found: Found, file_of: Callable[[str], str]) -> list[Words]:
    """`warmup`; none where a request says what a spec does not, or leaves out what a spec always says."""
    required = {name for name, tensor in inputs.items() if not tensor.get("optional")}
    largest = max(1, found.message.max_batch_size)
    said = []
    for request in rest.model_warmup:
        given = request.inputs
        tensors = {name: _warmup_input(given[name], inputs.get(name), found, file_of) for name in sorted(given)}
        if None in tensors.values() or not required <= set(tensors) or request.batch_size > largest:
            return []
        said.append(
            {"name": request.name, "batch_size": request.batch_size, "count": request.count, "inputs": tensors}
        )
        if not _is(Warmup, said[-1]):
            return []
    unset(rest, "model_warmup")
    return said


def _warmup_input(given: Any, tensor: Words | None, found: Found, file_of: Callable[[str], str]) -> Words | None:
    words = words_of(given)
    if tensor is None or str(words.get("data_type", "")).removeprefix("TYPE_").lower() != tensor["type"]:
        return None
    dims = words.get("dims", [])
    said: Words = {} if dims == tensor["dims"] and -1 not in dims else {"dims": dims}
    if words.get("zero_data"):
        return {"zero": True} | said
    if words.get("random_data") and tensor["type"] != "string":
        return {"random": True} | said
    file = f"warmup/{words.get('input_data_file', '')}"
    return {"file": file_of(file)} | said if file.count("/") == 1 and file in found.files else None


def cuda_graphs_of(rest: Any) -> Words | None:
    """`cuda_graphs`; None where there are none, or graphs whose shapes are given."""
    words = words_of(rest.optimization.cuda) if rest.optimization.HasField("cuda") else {}
    if not words.pop("graphs", False):
        return None
    specs = words.pop("graph_spec", [])
    if any(set(spec) != {"batch_size"} for spec in specs):
        return None
    said = words | ({"batch_sizes": [spec["batch_size"] for spec in specs]} if specs else {})
    if not _is(CudaGraphs, said):
        return None
    unset(rest, "optimization.cuda")
    if not rest.optimization.ListFields():
        unset(rest, "optimization")
    return said


def metrics_of(rest: Any) -> Words | None:
    """`metrics`; None for anything but the one histogram of latencies."""
    buckets: list[float] = []
    for control in rest.model_metrics.metric_control:
        buckets = list(control.histogram_options.buckets)
    said = {"latency_buckets_ms": buckets}
    plain = {
        "metric_control": [
            {"metric_identifier": {"family": LATENCY_FAMILY}, "histogram_options": {"buckets": buckets}}
        ]
    }
    if not _is(Metrics, said) or words_of(rest.model_metrics) != plain:
        return None
    unset(rest, "model_metrics")
    return said


def caches(rest: Any) -> bool:
    """Whether `response_cache: true` says what there is of it."""
    if not rest.response_cache.enable:
        return False
    unset(rest, "response_cache")
    return True


def parameters_of(rest: Any) -> dict[str, str]:
    """`parameters`."""
    said = {key: rest.parameters[key].string_value for key in sorted(rest.parameters)}
    unset(rest, "parameters")
    return said


def _is(model: type[BaseModel], data: Words) -> bool:
    """Whether a spec takes `data` there. YAML's keys are text, so it is asked as it would be read."""
    try:
        model.model_validate(data)
    except ValidationError:
        return False
    return True
