"""What the API server says to every object that the chart makes: validation, admission and Pod Security Standards."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chart_calls import CI_VALUES, ON_CPU, Object, ci, install, objects, pods, running_pods
from cluster_calls import CallError, Calls
from control_plane import ControlPlane

LEVEL = "pod-security.kubernetes.io/enforce"


def named(path: Path) -> str:
    return path.name.removesuffix("-values.yaml")


@pytest.fixture(scope="module")
def neighbours(control_plane: ControlPlane) -> Iterator[None]:
    """What pods of ci/everything-values.yaml refer to, and a cluster has of itself."""
    priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "serving"}}
    runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}}
    control_plane.apply({**priority, "value": 1000}, {**runtime, "handler": "nvidia"})
    yield
    control_plane.kubectl("delete", "priorityclass/serving", "runtimeclass/nvidia")


@pytest.fixture
def restricted(cluster: Calls) -> Calls:
    """A namespace that refuses pods below the strictest of the Pod Security Standards."""
    cluster.kubectl("label", "namespace", cluster.namespace, f"{LEVEL}=restricted")
    return cluster


def refused(cluster: Calls, *manifests: Object) -> str:
    with pytest.raises(CallError) as error:
        cluster.apply(*manifests, dry_run=True)
    return str(error.value)


@pytest.mark.parametrize("values", CI_VALUES, ids=named)
def test_every_object_is_taken(cluster: Calls, values: Path) -> None:
    manifests = objects(values)
    assert len(manifests) > 4
    cluster.apply(*manifests, dry_run=True)
    assert cluster.items("deployments,statefulsets,services") == []


@pytest.mark.parametrize(
    ("kind", "where", "value", "said"),
    [
        ("PodMonitor", ("spec", "podMetricsEndpoints", 0, "interval"), "often", "spec.podMetricsEndpoints"),
        ("ScaledObject", ("spec", "maxReplicaCount"), "many", "spec.maxReplicaCount"),
        ("PrometheusRule", ("spec", "groups", 0, "name"), 7, "spec.groups"),
        ("PodDisruptionBudget", ("spec", "maxUnavailable"), -1, "spec.maxUnavailable"),
        ("Deployment", ("spec", "selector", "matchLabels"), {"other": "pods"}, "selector"),
    ],
)
def test_what_is_wrong_is_refused(
    cluster: Calls, kind: str, where: tuple[str | int, ...], value: Any, said: str
) -> None:
    [right] = [item for item in objects(ci("everything")) if item["kind"] == kind][:1]
    wrong = copy.deepcopy(right)
    part: Any = wrong
    for step in where[:-1]:
        part = part[step]
    part[where[-1]] = value
    assert said in refused(cluster, wrong)


@pytest.mark.usefixtures("neighbours")
@pytest.mark.parametrize("values", CI_VALUES, ids=named)
def test_every_pod_is_allowed_where_only_restricted_ones_are(restricted: Calls, values: Path) -> None:
    accounts = [item for item in objects(values) if item["kind"] == "ServiceAccount"]
    restricted.apply(*accounts)
    made = pods(values)
    assert made
    restricted.apply(*made, dry_run=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"allowPrivilegeEscalation": True}, "allowPrivilegeEscalation != false"),
        ({"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}, "unrestricted capabilities"),
        ({"runAsNonRoot": False}, "runAsNonRoot != true"),
        ({"seccompProfile": {"type": "Unconfined"}}, "seccompProfile"),
    ],
)
def test_a_pod_that_may_more_is_refused_there(restricted: Calls, change: dict[str, Any], said: str) -> None:
    restricted.apply(*(item for item in objects(ON_CPU) if item["kind"] == "ServiceAccount"))
    [pod] = pods(ON_CPU)
    pod["spec"]["containers"][0]["securityContext"] |= change
    assert said in refused(restricted, pod)


def test_a_release_runs_where_only_restricted_pods_may(restricted: Calls) -> None:
    install(restricted, ON_CPU)
    for pod in running_pods(restricted):
        [container] = pod["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_nobody_reaches_a_pod_but_by_its_ports(cluster: Calls) -> None:
    """That the policies are there, and for which pods. Nothing enforces them on this cluster: it has no network."""
    install(cluster, ON_CPU)
    [policy] = cluster.items("networkpolicies")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"].get("egress", []) == []
    assert {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]} == {
        "http",
        "grpc",
        "metrics",
    }
    selector = ",".join(f"{name}={value}" for name, value in policy["spec"]["podSelector"]["matchLabels"].items())
    meant = {pod["metadata"]["name"] for pod in cluster.items("pods", f"--selector={selector}")}
    assert meant == {pod["metadata"]["name"] for pod in running_pods(cluster)} != set()
