"""The autoscaler of the cluster with the chart's HorizontalPodAutoscaler, on the depth of the queues."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chart_calls import ON_CPU, RELEASE, install, until_ready, workload
from cluster_calls import Calls, until
from control_plane import ControlPlane

METRIC = "triton_queue_depth"
DEPTH = 8  # the target
# Without the patience that a cluster needs: the test asks for numbers, not for their pace.
AT_ONCE: dict[str, Any] = {
    "hpa": {"enabled": True, "metric": METRIC},
    "minReplicas": 2,
    "maxReplicas": 6,
    "queueDepthPerPod": DEPTH,
    "scaleUp": {"stabilizationSeconds": 0, "percent": 900, "pods": 10, "periodSeconds": 1},
    "scaleDown": {"stabilizationSeconds": 0, "percent": 100, "periodSeconds": 1},
}
PIPELINE = {
    "name": "digits",
    "objective": {"p99Ms": 20, "throughputRps": 300, "maxErrorRate": 0.001},
    "models": ["digits"],
    "queueModels": ["digits"],
    "maxBatchSize": 32,
    "longestRequestSeconds": 16,
    "latencyBucketsMs": [],
}
SCALED: dict[str, Any] = {**ON_CPU, "pipelines": [PIPELINE], "autoscaling": AT_ONCE}


def replicas(cluster: Calls) -> int:
    return int(workload(cluster)["spec"]["replicas"])


def until_replicas(cluster: Calls, count: int) -> None:
    def ask() -> bool:
        found = replicas(cluster)
        assert found == count, f"{found} replicas"
        return True

    until(f"{count} replicas", ask)


def condition(cluster: Calls, kind: str) -> dict[str, Any]:
    [scaler] = cluster.items("hpa")
    found = [one for one in scaler["status"].get("conditions", []) if one["type"] == kind]
    assert found, f"no condition {kind}"
    return dict(found[0])


def test_pods_come_and_go_with_the_queue(control_plane: ControlPlane, cluster: Calls) -> None:
    metrics, namespace = control_plane.metrics, cluster.namespace
    metrics.report(namespace, METRIC, str(DEPTH))
    install(cluster, SCALED)
    until_ready(cluster, 2)

    metrics.report(namespace, METRIC, str(2 * DEPTH))  # of each pod, whose number doubles until it may not
    until_replicas(cluster, 6)
    until_ready(cluster, 6)
    until("the limit is told", lambda: condition(cluster, "ScalingLimited")["reason"] == "TooManyReplicas")

    metrics.report(namespace, METRIC, "0")
    until_replicas(cluster, 2)

    metrics.report(namespace, METRIC, f"{DEPTH * 1500}m")  # half as much again: three pods for two
    until("a third pod", lambda: replicas(cluster) >= 3)
    metrics.report(namespace, METRIC, None)


def test_an_upgrade_leaves_the_number_of_pods_to_the_autoscaler(control_plane: ControlPlane, cluster: Calls) -> None:
    metrics, namespace = control_plane.metrics, cluster.namespace
    metrics.report(namespace, METRIC, str(2 * DEPTH))
    install(cluster, SCALED)
    until_replicas(cluster, 6)
    metrics.report(namespace, METRIC, str(DEPTH))
    install(cluster, {**SCALED, "server": {"logVerbose": 1}})
    assert replicas(cluster) == 6
    assert len(until_ready(cluster, 6)) == 6


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_an_autoscaler_for_a_running_release_takes_no_pod_away(
    control_plane: ControlPlane, cluster: Calls, kind: str
) -> None:
    metrics, namespace = control_plane.metrics, cluster.namespace
    metrics.report(namespace, METRIC, str(DEPTH))  # the target: the autoscaler leaves the number as it is
    fixed = {**SCALED, "workload": {"kind": kind, "replicas": 4}, "autoscaling": {}}
    scaled = {**fixed, "autoscaling": AT_ONCE}
    install(cluster, fixed)
    before = {pod["metadata"]["uid"] for pod in until_ready(cluster, 4)}

    install(cluster, scaled)
    until("it scales", lambda: condition(cluster, "ScalingActive")["status"] == "True")
    assert {pod["metadata"]["uid"] for pod in until_ready(cluster, 4)} == before

    # What Helm sent last has a number: were the next one without, it would be removed.
    install(cluster, {**scaled, "service": {"http": {"annotations": {"example.com/changed": "true"}}}})
    assert workload(cluster, kind)["spec"]["replicas"] == 4
    assert {pod["metadata"]["uid"] for pod in until_ready(cluster, 4)} == before
    cluster.helm("rollback", RELEASE, "--wait", "--timeout=60s")
    assert workload(cluster, kind)["spec"]["replicas"] == 4


def test_without_the_metric_nothing_is_taken_away(control_plane: ControlPlane, cluster: Calls) -> None:
    metrics, namespace = control_plane.metrics, cluster.namespace
    metrics.report(namespace, METRIC, str(2 * DEPTH))
    install(cluster, SCALED)
    until_replicas(cluster, 6)
    metrics.report(namespace, METRIC, None)
    until("it is told", lambda: condition(cluster, "ScalingActive")["reason"] == "FailedGetPodsMetric")
    assert replicas(cluster) == 6


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_the_autoscaler_finds_what_it_scales(control_plane: ControlPlane, cluster: Calls, kind: str) -> None:
    control_plane.metrics.report(cluster.namespace, METRIC, str(DEPTH))
    install(cluster, {**SCALED, "workload": {"kind": kind}})
    until("it scales", lambda: condition(cluster, "ScalingActive")["status"] == "True")
    [scaler] = cluster.items("hpa")
    assert scaler["status"]["currentReplicas"] == 2
    served = json.loads(cluster.kubectl("get", "--raw", "/apis/custom.metrics.k8s.io/v1beta2"))
    assert {"name": f"pods/{METRIC}", "kind": "MetricValueList"}.items() <= served["resources"][0].items()
