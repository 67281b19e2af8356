"""Whether the cluster's nodes can take the pods of a release: GPUs, labels and taints, before anything is sent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from deploy.release.objects import Object, key_of

PRODUCT = "nvidia.com/gpu.product"
WAITS = "wait-for-engines"  # the init container of the chart's pods that ends when the engine Jobs have
_NUMBER = re.compile(r"[+-]?[0-9]+")
_OPERATOR = (
    "GPU nodes need NVIDIA's device plugin, and its feature discovery for their labels (the GPU Operator has both)"
)


class Shortage(NamedTuple):
    """What no node gives; `is_total` where a pod could run, only not all of them at once."""

    owner: str
    message: str
    hint: str
    is_total: bool = False


def shortages(objects: Sequence[Object], nodes: Sequence[Object]) -> Iterator[Shortage]:
    """What the pods of these objects ask for and the nodes do not have."""
    for item in objects:
        pod = _pod_of(item)
        resource, count = _gpus_of(pod)
        if not pod or not count:
            continue  # a pod without a GPU finds its place, or the scheduler says why not
        found = _shortage(str(key_of(item)), pod, resource, count, nodes, pods=_pods_of(item))
        if found is not None:
            yield found
        elif item["kind"] == "Job":
            yield from _held(item, objects, nodes)


def _held(job: Object, objects: Sequence[Object], nodes: Sequence[Object]) -> Iterator[Shortage]:
    """A Job for which pods leave no GPU, and they wait for it: both would wait for ever."""
    pod = _pod_of(job)
    resource, count = _gpus_of(pod)
    mine = [node for node in nodes if _is_open(node, pod) and _has(node, resource) >= count]
    for item in objects:
        waiting = _pod_of(item)
        held, each = _gpus_of(waiting)
        if held != resource or all(one.get("name") != WAITS for one in waiting.get("initContainers") or ()):
            continue
        fill = [_pods_that_fill(_has(node, resource), each, count) for node in mine if _is_open(node, waiting)]
        pods = _pods_of(item)
        if len(fill) < len(mine) or None in fill or sum(filter(None, fill)) > pods:
            continue  # wherever the pods are put, a node is left
        room = sum(_has(node, resource) for node in mine)
        yield Shortage(
            str(key_of(job)),
            f"{pods} pods take {_of(each, resource)} each and keep it while they wait for this Job, which takes "
            f"{count} more; the nodes that would do have {room}",
            "add a node, set fewer `workload.replicas` until the engine is built, or build it before with "
            "`tritonkit build`",
            is_total=True,
        )


def _pods_that_fill(has: int, each: int, needed: int) -> int | None:
    """How many pods of `each` GPUs leave fewer than `needed` on a node; None where as many as fit do not."""
    pods = max(0, -(-(has - needed + 1) // each))
    return pods if pods * each <= has else None


def _shortage(
    owner: str, pod: Mapping[str, Any], resource: str, count: int, nodes: Sequence[Object], *, pods: int
) -> Shortage | None:
    having = [node for node in nodes if _has(node, resource)]
    if not having:
        message = f"each pod takes {_of(count, resource)}, and none of the {len(nodes)} nodes has any"
        return Shortage(owner, message, f"{_OPERATOR}; on a cluster without GPUs choose a target that needs none")
    chosen = [node for node in having if _is_selected(node, pod)]
    if not chosen:
        products = sorted({_labels(node).get(PRODUCT, "of no known product") for node in having})
        wanted = ", ".join(_wanted(pod)) or "what its node selector and affinity say"
        message = f"no node with {resource} has {wanted}; those {len(having)} are {', '.join(products)}"
        return Shortage(
            owner,
            message,
            "build the engine for a GPU that the cluster has (`gpu:` of the target), or add such nodes",
        )
    open_to = [node for node in chosen if _is_open(node, pod)]
    if not open_to:
        taints = sorted({taint for node in chosen for taint in _taints(node, pod)})
        return Shortage(
            owner, f"every node that would do has a taint that the pods do not tolerate: {', '.join(taints)}",
            "add a toleration to `workload.tolerations`, or uncordon a node",
        )  # fmt: skip
    largest = max(_has(node, resource) for node in open_to)
    if largest < count:
        return Shortage(
            owner, f"each pod takes {_of(count, resource)}, and the largest node that would do has {largest}",
            "set `gpu.count` to what a node has: instances of a model are per GPU, so fewer GPUs serve fewer of them",
        )  # fmt: skip
    room = sum(_has(node, resource) // count for node in open_to)
    if room < pods:
        return Shortage(
            owner, f"{pods} pods take {_of(count, resource)} each, and the nodes have room for {room}",
            "add nodes, or set fewer `workload.replicas`", is_total=True,
        )  # fmt: skip
    return None


def _of(count: int, resource: str) -> str:
    return f"{count} {resource}"


def _pod_of(item: Object) -> Mapping[str, Any]:
    spec = item.get("spec")
    template = spec.get("template") if isinstance(spec, Mapping) else None
    pod = template.get("spec") if isinstance(template, Mapping) else None
    return pod if isinstance(pod, Mapping) and item["kind"] in {"Deployment", "StatefulSet", "Job"} else {}


def _pods_of(item: Object) -> int:
    return 1 if item["kind"] == "Job" else int(item["spec"].get("replicas", 1))


def _gpus_of(pod: Mapping[str, Any]) -> tuple[str, int]:
    """The resource with `/gpu` or `/mig-` in its name that the pod asks for, and how many of it.

    Init containers run one after the other and before the others, so that the most that any of them takes counts.
    """
    asked: Counter[str] = Counter()
    for container in pod.get("containers") or ():
        asked.update(_limits(container))
    for container in pod.get("initContainers") or ():
        asked |= _limits(container)
    return next(iter(asked.items()), ("", 0))


def _limits(container: Mapping[str, Any]) -> Counter[str]:
    limits = (container.get("resources") or {}).get("limits") or {}
    return Counter({name: int(count) for name, count in limits.items() if "/gpu" in name or "/mig-" in name})


def _is_open(node: Object, pod: Mapping[str, Any]) -> bool:
    return _is_selected(node, pod) and not _taints(node, pod)


def _has(node: Object, resource: str) -> int:
    return int((node.get("status", {}).get("allocatable") or {}).get(resource, 0))


def _labels(node: Object) -> Mapping[str, str]:
    return node.get("metadata", {}).get("labels") or {}


def _terms(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    return list(required.get("nodeSelectorTerms") or ())


def _is_selected(node: Object, pod: Mapping[str, Any]) -> bool:
    labels, terms = _labels(node), _terms(pod)
    if any(labels.get(name) != value for name, value in (pod.get("nodeSelector") or {}).items()):
        return False
    return not terms or any(
        all(_matches(labels, expression) for expression in term.get("matchExpressions") or ()) for term in terms
    )


def _matches(labels: Mapping[str, str], expression: Mapping[str, Any]) -> bool:
    """As the scheduler takes it. An expression that the API server refuses matches: it is the one to say so."""
    has, values = labels.get(str(expression.get("key"))), list(map(str, expression.get("values") or ()))
    match expression.get("operator"):
        case "In":
            return has in values
        case "NotIn":
            return has not in values
        case "Exists":
            return has is not None
        case "DoesNotExist":
            return has is None
        case "Gt" | "Lt" as operator if len(values) == 1 and _NUMBER.fullmatch(values[0]):
            if has is None or not _NUMBER.fullmatch(has):
                return False
            return int(has) > int(values[0]) if operator == "Gt" else int(has) < int(values[0])
    return True


def _wanted(pod: Mapping[str, Any]) -> Iterator[str]:
    for name, value in (pod.get("nodeSelector") or {}).items():
        yield f"{name}={value}"
    for term in _terms(pod):
        for expression in term.get("matchExpressions") or ():
            values = ", ".join(map(str, expression.get("values") or ()))
            yield f"{expression.get('key')} {expression.get('operator')} {values}".strip()


def _taints(node: Object, pod: Mapping[str, Any]) -> list[str]:
    """The node's taints that keep the pod away."""
    tolerations = pod.get("tolerations") or ()
    return [
        f"{taint['key']}={taint.get('value', '')}:{taint['effect']}"
        for taint in node.get("spec", {}).get("taints") or ()
        if taint["effect"] != "PreferNoSchedule" and not any(_tolerates(one, taint) for one in tolerations)
    ]


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in {None, "", taint["effect"]}:
        return False
    if toleration.get("key") in {None, ""}:
        return toleration.get("operator") == "Exists"
    same_key = toleration["key"] == taint["key"]
    return same_key and (
        toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")
    )
