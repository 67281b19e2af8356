"""What `status` makes of the objects of a release, and `delete` of its manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from deploy.release.cluster import Cluster
from deploy.release.remove import removal_of, remove
from deploy.release.state import State
from deploy.release.status import status_of
from deploy.tools.helm import Helm, Revision
from deploy.tools.kubectl import Context, Kubectl


def named(kind: str, name: str, **rest: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "uid": name}, **rest}


DEPLOYMENT = named(
    "Deployment", "digits", spec={"replicas": 1},
    status={"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
)  # fmt: skip
READY = named("Pod", "digits-1", spec={"nodeName": "h200-0", "containers": [{"image": "triton:1"}]},
              status={"conditions": [{"type": "Ready", "status": "True"}]})  # fmt: skip
GOING = {**READY, "metadata": {"name": "digits-0", "uid": "x", "deletionTimestamp": "now"}}
SERVICES = [
    named("Service", "digits", spec={"type": "LoadBalancer", "ports": [{"name": "http", "port": 8000}]},
          status={"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}),
    named("Service", "digits-grpc", spec={"clusterIP": "None", "ports": [{"name": "grpc", "port": 8001}]}),
]  # fmt: skip
AUTOSCALER = named(
    "HorizontalPodAutoscaler", "digits", spec={"minReplicas": 2, "maxReplicas": 10},
    status={"currentReplicas": 3, "desiredReplicas": 4,
            "conditions": [{"type": "ScalingActive", "status": "False", "message": "no metrics returned"}]},
)  # fmt: skip
BUDGET = named("PodDisruptionBudget", "digits", status={"disruptionsAllowed": 1})


@dataclass
class Answers:
    """A kubectl that has these objects; with `goes` a pod less at each look."""

    objects: list[dict[str, Any]]
    goes: bool = False
    asked: list[str] = field(default_factory=list)

    def get(self, kinds: Sequence[str], *_words: str) -> list[dict[str, Any]]:
        self.asked.append(",".join(kinds))
        found = list(self.objects) if "events" not in kinds else []
        if self.goes and self.objects:
            self.objects.pop()
        return found


@dataclass
class Manifest:
    """A Helm that has sent this."""

    text: str = ""
    removed: list[str] = field(default_factory=list)

    def manifest(self, _name: str) -> str:
        return self.text

    def uninstall(self, name: str) -> str:
        self.removed.append(name)
        return ""


def cluster(kubectl: Answers, helm: Manifest | None = None) -> Cluster:
    context = Context("test", "https://127.0.0.1:1")
    return Cluster(cast(Helm, helm or Helm(Path("helm"))), cast(Kubectl, kubectl), context, "ml")


STATE = State("digits", (Revision(4, "deployed", "noon", "triton-1", ""),))


def test_everything_that_an_operator_asks_for() -> None:
    where = cluster(Answers([DEPLOYMENT, READY, GOING, *SERVICES, AUTOSCALER, BUDGET]))
    status = status_of(where, STATE)
    assert status.is_fine
    assert [(pod.name, pod.node, pod.why) for pod in status.pods] == [
        ("digits-0", "h200-0", "goes: it finishes the requests that it has begun"), ("digits-1", "h200-0", ""),
    ]  # fmt: skip
    assert status.endpoints == (
        "http digits.ml:8000 (LoadBalancer, from outside 192.0.2.1)", "grpc digits-grpc.ml:8001 (headless)",
    )  # fmt: skip
    assert status.autoscaler == "3 pods, wants 4, from 2 to 10; it cannot tell: no metrics returned"
    assert status.budget == "1 pod may be evicted now"
    told = json.loads(json.dumps(status.as_json(where)))
    assert (told["revision"], told["ready"], told["rollout"]) == (4, True, {"ready": 1, "wanted": 1, "done": True})


def test_one_that_failed_is_not_fine_though_its_pods_are() -> None:
    failed = State("digits", (Revision(4, "failed", "noon", "triton-1", ""),))
    assert not status_of(cluster(Answers([DEPLOYMENT, READY])), failed).is_fine


def test_events_are_asked_for_only_where_something_is_not_ready() -> None:
    fine, late = Answers([DEPLOYMENT, READY]), Answers([{**DEPLOYMENT, "status": {}}])
    status_of(cluster(fine), STATE)
    status_of(cluster(late), STATE)
    assert ("events" in fine.asked, "events" in late.asked) == (False, True)


def test_what_goes_and_what_stays() -> None:
    pod = {
        "spec": {
            "volumes": [
                {"name": "m", "persistentVolumeClaim": {"claimName": "models"}},
                {"name": "t", "emptyDir": {}},
            ]
        }
    }
    kept = {"kind": "ConfigMap", "metadata": {"name": "kept", "annotations": {"helm.sh/resource-policy": "keep"}}}
    objects = [named("Deployment", "digits", spec={"template": pod}), kept]
    text = "---\n".join(json.dumps(item) + "\n" for item in objects)
    removal = removal_of(cluster(Answers([]), Manifest(text)), STATE)
    assert [str(key) for key in removal.goes] == ["Deployment digits"]
    assert removal.stays == (
        "ConfigMap kept: it says that it is to be kept",
        "PersistentVolumeClaim models: the release uses it, and has not made it",
        "Namespace ml",
    )


def test_pods_are_waited_for_and_those_that_do_not_go_are_named() -> None:
    said: list[str] = []
    helm = Manifest()
    assert remove(cluster(Answers([GOING, READY], goes=True), helm), STATE, timeout_s=30, say=said.append) == []
    assert helm.removed == ["digits"]
    assert said == ["removing the release", "2 pods finish their requests", "1 pod finishes its requests"]
    assert remove(cluster(Answers([GOING]), helm), STATE, timeout_s=0.01, say=said.append) == ["digits-0"]
