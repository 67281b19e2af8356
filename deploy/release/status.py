"""What is there of a release: its revision, its pods, where it is reached, and what is not ready and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.release.cluster import Cluster
from deploy.release.objects import Object
from deploy.release.reasons import restarts, why_not_ready
from deploy.release.rollout import KINDS, Rollout, may_be_empty_of, rollout_of
from deploy.release.state import State

_MORE = ("services", "horizontalpodautoscalers", "poddisruptionbudgets")


@dataclass(frozen=True)
class Pod:
    """One pod: `why` is empty where it is ready."""

    name: str
    node: str
    image: str
    restarts: int
    why: str


@dataclass(frozen=True)
class Status:
    """Everything of one release that an operator asks for first."""

    state: State
    rollout: Rollout
    pods: tuple[Pod, ...]
    endpoints: tuple[str, ...]
    autoscaler: str
    budget: str

    @property
    def is_fine(self) -> bool:
        """Whether the newest revision is deployed and all of it is ready."""
        newest = self.state.newest
        return newest is not None and newest.status == "deployed" and self.rollout.is_done

    def as_json(self, cluster: Cluster) -> dict[str, Any]:
        """The same for scripts."""
        newest = self.state.newest
        return {
            "release": self.state.name,
            "context": cluster.context.name,
            "namespace": cluster.namespace,
            "revision": newest.number if newest else None,
            "status": newest.status if newest else None,
            "updated": newest.updated if newest else None,
            "ready": self.is_fine,
            "rollout": {"ready": self.rollout.ready, "wanted": self.rollout.wanted, "done": self.rollout.is_done},
            "not_ready": [*self.rollout.waiting, *([self.rollout.failed] if self.rollout.failed else [])],
            "pods": [vars(pod) for pod in self.pods],
            "endpoints": list(self.endpoints),
            "autoscaler": self.autoscaler or None,
            "disruption_budget": self.budget or None,
        }


def status_of(cluster: Cluster, state: State) -> Status:
    """Asks the cluster. Raises KubectlError, HelmError."""
    selector = f"--selector=app.kubernetes.io/instance={state.name}"
    found = cluster.kubectl.get([*KINDS, *_MORE], selector)
    may_be_empty = may_be_empty_of(cluster, state.name, found)
    rollout = rollout_of(found, (), may_be_empty=may_be_empty)
    events: Sequence[Object] = ()
    if not rollout.is_done:
        events = cluster.kubectl.get(["events"], "--field-selector=type=Warning")
        rollout = rollout_of(found, events, may_be_empty=may_be_empty)
    pods = sorted((_pod(item, events) for item in found if item["kind"] == "Pod"), key=lambda pod: pod.name)
    return Status(
        state, rollout, tuple(pods), tuple(_endpoints(found, cluster.namespace)), _autoscaler(found), _budget(found)
    )


def _pod(item: Object, events: Sequence[Object]) -> Pod:
    containers = item.get("spec", {}).get("containers") or [{}]
    why = why_not_ready(item, events)
    if "deletionTimestamp" in item["metadata"]:
        why = "goes: it finishes the requests that it has begun"
    elif item.get("status", {}).get("phase") == "Succeeded":
        why = ""
    node = item.get("spec", {}).get("nodeName", "")
    return Pod(item["metadata"]["name"], node, containers[0].get("image", ""), restarts(item), why)


def _endpoints(found: Sequence[Object], namespace: str) -> Iterator[str]:
    for item in found:
        if item["kind"] != "Service":
            continue
        spec, name = item["spec"], f"{item['metadata']['name']}.{namespace}"
        kind = "headless" if spec.get("clusterIP") == "None" else spec.get("type", "ClusterIP")
        outside = [
            address.get("ip") or address.get("hostname", "")
            for address in (item.get("status", {}).get("loadBalancer") or {}).get("ingress") or ()
        ]
        at = f", from outside {', '.join(outside)}" if outside else ""
        for port in spec.get("ports") or ():
            yield f"{port.get('name', 'port')} {name}:{port['port']} ({kind}{at})"


def _autoscaler(found: Sequence[Object]) -> str:
    """How many pods the autoscaler wants and why it cannot tell, where it cannot."""
    for item in found:
        if item["kind"] == "HorizontalPodAutoscaler":
            spec, status = item["spec"], item.get("status", {})
            conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
            active = conditions.get("ScalingActive", {})
            told = (
                f"{status.get('currentReplicas', 0)} pods, wants {status.get('desiredReplicas', 0)}, "
                f"from {spec.get('minReplicas', 1)} to {spec['maxReplicas']}"
            )
            if active.get("status") == "False":
                told += f"; it cannot tell: {active.get('message') or active.get('reason', '')}"
            return told
    return ""


def _budget(found: Sequence[Object]) -> str:
    for item in found:
        if item["kind"] == "PodDisruptionBudget":
            allowed = item.get("status", {}).get("disruptionsAllowed", 0)
            return f"{allowed} {'pods' if allowed != 1 else 'pod'} may be evicted now"
    return ""
