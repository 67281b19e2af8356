"""What the tests do with the chart: render it, install it, and look at what became of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from cluster_calls import CHART, Calls, call, until
from control_plane import HELM

RELEASE = "demo"
KUBERNETES = "1.36.0"
CI_VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
ON_CPU: dict[str, Any] = {"gpu": {"count": 0}}
WORKLOADS = ("Deployment", "StatefulSet", "Job")
Object = dict[str, Any]


def ci(name: str) -> Path:
    """A file of values that the chart is checked with."""
    return CHART / "ci" / f"{name}-values.yaml"


def rendered(values: Path | Mapping[str, Any]) -> str:
    """The manifests for these values, as text."""
    options = ("--kube-version", KUBERNETES, "--values")
    if isinstance(values, Path):
        return call(HELM, "template", RELEASE, CHART, *options, values)
    return call(HELM, "template", RELEASE, CHART, *options, "-", stdin=json.dumps(values))


def objects(values: Path | Mapping[str, Any]) -> list[Object]:
    """The manifests for these values."""
    return [item for item in yaml.safe_load_all(rendered(values)) if item]


def pods(values: Path | Mapping[str, Any]) -> list[Object]:
    """A pod of every workload, as its controller would make it."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": item["metadata"]["name"], "labels": item["spec"]["template"]["metadata"]["labels"]},
            "spec": item["spec"]["template"]["spec"],
        }
        for item in objects(values)
        if item["kind"] in WORKLOADS
    ]


def install(cluster: Calls, values: Path | Mapping[str, Any], *options: str, wait: bool = True) -> None:
    """Installs or upgrades the release; with `wait`, until all of it is ready. Raises CallError."""
    waiting = ("--wait", "--timeout=60s") if wait else ()
    words = ("upgrade", "--install", RELEASE, CHART, *waiting, *options, "--values")
    if isinstance(values, Path):
        cluster.helm(*words, values)
    else:
        cluster.helm(*words, "-", stdin=json.dumps(values))


def workload(cluster: Calls, kind: str = "deployment") -> Object:
    """The release's Deployment or StatefulSet."""
    [found] = cluster.items(kind, f"--selector=app.kubernetes.io/instance={RELEASE}")
    return found


def running_pods(cluster: Calls) -> list[Object]:
    """The release's servers that are ready and not about to go."""
    found = cluster.items("pods", f"--selector=app.kubernetes.io/instance={RELEASE}")
    return [pod for pod in found if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]


def is_ready(pod: Object) -> bool:
    """Whether the pod takes requests."""
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))


def until_ready(cluster: Calls, count: int, *, within_s: float = 60) -> list[Object]:
    """The release's pods, once exactly so many are ready."""

    def ask() -> list[Object] | None:
        found = running_pods(cluster)
        assert len(found) == count, f"{len(found)} pods are ready"
        return found

    return until(f"{count} pods are ready", ask, within_s=within_s)


def unschedulable(cluster: Calls) -> list[str]:
    """What the scheduler says of pods that have no node."""
    return [
        condition["message"]
        for pod in cluster.items("pods", f"--selector=app.kubernetes.io/instance={RELEASE}")
        for condition in pod["status"].get("conditions", [])
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable"
    ]


def claim(cluster: Calls, name: str) -> None:
    """A claim that is bound; nobody provisions volumes here."""
    volume = f"{cluster.namespace}-{name}"
    size, modes = {"storage": "1Gi"}, ["ReadWriteMany"]
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {"capacity": size, "accessModes": modes, "storageClassName": "", "hostPath": {"path": "/none"}},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": {
                "accessModes": modes,
                "storageClassName": "",
                "volumeName": volume,
                "resources": {"requests": size},
            },
        },
    )
