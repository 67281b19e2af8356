"""Where pods go: to the GPU that their engines were built for, and off a node that is emptied."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from chart_calls import ON_CPU, Object, claim, install, running_pods, unschedulable, until_ready
from cluster_calls import CallError, Calls, until
from cluster_nodes import GPU, H200, L4, MACHINES

ON_H200 = {machine.name for machine in MACHINES if machine.product == H200}
PLAIN = "plain-0"


def on_gpu(product: str, replicas: int, count: int = 1) -> dict[str, Any]:
    return {"gpu": {"count": count, "product": product}, "workload": {"replicas": replicas}}


def nodes(pods: list[Object]) -> list[str]:
    return sorted(pod["spec"]["nodeName"] for pod in pods)


def until_unschedulable(cluster: Calls) -> str:
    [said] = until("a pod has no node", lambda: unschedulable(cluster))
    return said


# GPUs ------------------------------------------------------------------------------------------------------


def test_pods_go_to_the_gpu_of_their_engines(cluster: Calls) -> None:
    install(cluster, on_gpu(H200, replicas=4, count=2))
    assert nodes(until_ready(cluster, 4)) == ["h200-0", "h200-0", "h200-1", "h200-1"], "two pods of two GPUs on each"


def test_without_a_product_any_gpu_will_do(cluster: Calls) -> None:
    install(cluster, on_gpu("", replicas=9))
    found = nodes(until_ready(cluster, 9))
    assert {name: found.count(name) for name in set(found)} == {"h200-0": 4, "h200-1": 4, "l4-0": 1}


def test_pods_without_a_gpu_stay_off_gpu_nodes(cluster: Calls) -> None:
    install(cluster, {**ON_CPU, "workload": {"replicas": 5}})
    assert nodes(until_ready(cluster, 5)) == [PLAIN] * 5


def test_a_pod_for_which_there_is_no_gpu_left_waits(cluster: Calls) -> None:
    install(cluster, on_gpu(L4, replicas=2), wait=False)
    assert nodes(until_ready(cluster, 1)) == ["l4-0"]
    said = until_unschedulable(cluster)
    assert f"1 Insufficient {GPU}" in said
    assert "3 node(s) didn't match Pod's node affinity/selector" in said


def test_a_pod_for_which_there_never_was_a_gpu_waits(cluster: Calls) -> None:
    install(cluster, on_gpu("NVIDIA-B200", replicas=1), wait=False)
    assert "4 node(s) didn't match Pod's node affinity/selector" in until_unschedulable(cluster)
    assert running_pods(cluster) == []


def test_engines_are_built_on_the_gpu_that_they_are_for(cluster: Calls) -> None:
    claim(cluster, "engines")
    jobs: list[dict[str, Any]] = [
        {"name": f"digits-{product[7:].lower()}", "gpuProduct": product, "command": ["trtexec"], "memory": "1Gi"}
        for product in (H200, L4)
    ]
    built: dict[str, Any] = {"enabled": True, "claimName": "engines", "jobs": [{**job, "cpu": "1"} for job in jobs]}
    install(cluster, {**ON_CPU, "engineBuild": built}, "--wait-for-jobs")
    done = cluster.items("jobs")
    assert [job["status"].get("succeeded") for job in done] == [1, 1]
    for job in done:
        [pod] = cluster.items("pods", f"--selector=job-name={job['metadata']['name']}")
        assert pod["spec"]["nodeName"] in (ON_H200 if "h200" in job["metadata"]["name"] else {"l4-0"})

    # An upgrade builds again only what has changed.
    before = {job["metadata"]["uid"] for job in done}
    built["jobs"][0]["command"] = ["trtexec", "--fp16"]
    install(cluster, {**ON_CPU, "engineBuild": built}, "--wait-for-jobs")
    assert len(before & {job["metadata"]["uid"] for job in cluster.items("jobs")}) == 1


# Emptying a node -------------------------------------------------------------------------------------------


@contextmanager
def cordoned_afterwards(cluster: Calls, *names: str) -> Iterator[None]:
    """Takes back the cordon that a drain puts around a node."""
    try:
        yield
    finally:
        cluster.kubectl("uncordon", *names)


def drain(cluster: Calls, node: str, *options: str) -> str:
    selector = "--pod-selector=app.kubernetes.io/instance"
    return cluster.kubectl("drain", node, selector, "--delete-emptydir-data", *options)


def test_a_node_is_emptied_when_another_can_take_its_pods(cluster: Calls) -> None:
    install(cluster, on_gpu(H200, replicas=2))
    assert nodes(until_ready(cluster, 2)) == ["h200-0", "h200-1"]
    with cordoned_afterwards(cluster, "h200-0"):
        drain(cluster, "h200-0", "--timeout=30s")
        assert nodes(until_ready(cluster, 2)) == ["h200-1", "h200-1"]


def test_a_node_keeps_a_pod_that_nobody_could_replace(cluster: Calls) -> None:
    install(cluster, {**ON_CPU, "workload": {"replicas": 3}})
    with cordoned_afterwards(cluster, PLAIN):
        with pytest.raises(CallError, match="violate the pod's disruption budget"):
            drain(cluster, PLAIN, "--timeout=6s")
        assert len(running_pods(cluster)) == 2, "one may go, as the budget says, and has no other node"
    until_ready(cluster, 3)


def test_a_budget_of_none_blocks_and_a_pod_more_frees(cluster: Calls) -> None:
    values: dict[str, Any] = {**on_gpu(H200, replicas=2), "podDisruptionBudget": {"minAvailable": 2}}
    install(cluster, values)
    with cordoned_afterwards(cluster, "h200-0"):
        with pytest.raises(CallError, match="violate the pod's disruption budget"):
            drain(cluster, "h200-0", "--timeout=1s")
        assert nodes(running_pods(cluster)) == ["h200-0", "h200-1"]
        values["workload"]["replicas"] = 3
        install(cluster, values)
        drain(cluster, "h200-0", "--timeout=30s")
        assert nodes(until_ready(cluster, 3)) == ["h200-1"] * 3


def test_a_pod_that_serves_nobody_may_always_go(cluster: Calls) -> None:
    broken = {"podAnnotations": {"tritonkit.test/broken": "CrashLoopBackOff"}, "replicas": 2}
    install(cluster, {**on_gpu(H200, replicas=2), "workload": broken}, wait=False)
    until("two pods are broken", lambda: len(cluster.items("pods")) == 2)
    with cordoned_afterwards(cluster, "h200-0"):
        drain(cluster, "h200-0", "--timeout=30s")
