"""A release and its life: installed, upgraded, taken back, deleted; and what happens when it cannot get ready."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from chart_calls import ON_CPU, RELEASE, install, objects, until_ready, workload
from cluster_calls import CallError, Calls, until

KEPT_BY_KUBERNETES = {"kube-root-ca.crt", "default", "kubernetes"}


def values(**server: Any) -> dict[str, Any]:
    return {**ON_CPU, "server": server} if server else ON_CPU


def key(cluster: Calls) -> str:
    [secret] = cluster.items("secrets", f"--selector=app.kubernetes.io/instance={RELEASE}")
    return str(secret["data"]["key"])


def only_kept(cluster: Calls, kind: str) -> bool:
    return {item["metadata"]["name"] for item in cluster.items(kind)} <= KEPT_BY_KUBERNETES


def flags(cluster: Calls) -> list[str]:
    [container] = workload(cluster)["spec"]["template"]["spec"]["containers"]
    return list(container["args"])


def test_from_the_first_to_the_last(cluster: Calls) -> None:
    install(cluster, values())
    until_ready(cluster, 2)
    first, secret = flags(cluster), key(cluster)
    assert "--log-verbose=1" not in first

    install(cluster, values(logVerbose=1))
    until_ready(cluster, 2)
    assert "--log-verbose=1" in flags(cluster)
    assert key(cluster) == secret, "clients hold it: an upgrade may not change it"

    cluster.helm("rollback", RELEASE, "1", "--wait", "--timeout=60s")
    until_ready(cluster, 2)
    assert flags(cluster) == first
    assert key(cluster) == secret
    history = json.loads(cluster.helm("history", RELEASE, "--output=json"))
    assert [one["status"] for one in history] == ["superseded", "superseded", "deployed"]

    cluster.helm("uninstall", RELEASE, "--wait", "--timeout=60s")
    for kind in sorted({item["kind"] for item in objects(ON_CPU)} | {"ReplicaSet", "Pod", "Secret"}):
        until(f"no {kind} is left", partial(only_kept, cluster, kind))


def test_a_rollout_never_has_fewer_pods_ready_than_asked_for(cluster: Calls) -> None:
    install(cluster, {**ON_CPU, "workload": {"replicas": 3}})
    strategy = workload(cluster)["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 1, "maxUnavailable": 0}
    broken = {"tritonkit.test/broken": "ImagePullBackOff"}
    with pytest.raises(CallError, match=r"timed out|deadline exceeded"):
        install(
            cluster,
            {**ON_CPU, "workload": {"replicas": 3, "podAnnotations": broken}},
            "--timeout=3s",
            "--atomic=false",
        )
    status = workload(cluster)["status"]
    assert (status["readyReplicas"], status["unavailableReplicas"]) == (3, 1)


def test_a_pod_that_goes_is_not_ready_for_its_services_although_its_probe_still_says_so(cluster: Calls) -> None:
    """What the chart's pause before the end is built on: the server itself answers that it is ready through all of it."""
    install(cluster, ON_CPU)
    going, stays = (pod["metadata"]["name"] for pod in until_ready(cluster, 2))
    held = {"metadata": {"finalizers": ["tritonkit.test/still-answers"]}}
    cluster.kubectl("patch", "pod", going, f"--patch={json.dumps(held)}")
    cluster.kubectl("delete", "pod", going, "--wait=false")
    try:
        services = [service["metadata"]["name"] for service in cluster.items("services")]
        assert len(services) == 3
        for service in services:
            until(f"{service} has heard of it", partial(has_heard, cluster, service, going, stays))
    finally:
        cluster.kubectl("patch", "pod", going, '--patch={"metadata": {"finalizers": null}}')


def has_heard(cluster: Calls, service: str, going: str, stays: str) -> bool:
    """Whether a Service sends nothing more to the pod that goes, and goes on with the other one."""
    slices = cluster.items("endpointslices", f"--selector=kubernetes.io/service-name={service}")
    found = {one["targetRef"]["name"]: one["conditions"] for each in slices for one in each["endpoints"] or ()}
    assert found.get(going) == {"ready": False, "serving": True, "terminating": True}, found
    assert found.get(stays) == {"ready": True, "serving": True, "terminating": False}, found
    return True


def test_what_cannot_get_ready_is_taken_back(cluster: Calls) -> None:
    install(cluster, ON_CPU)
    before = workload(cluster)["spec"]["template"]
    with pytest.raises(CallError, match="has been rolled back due to"):
        install(cluster, {"gpu": {"count": 64}}, "--atomic", "--timeout=5s")
    assert workload(cluster)["spec"]["template"] == before
    until_ready(cluster, 2)


def test_pods_of_a_stateful_set_keep_their_names(cluster: Calls) -> None:
    install(cluster, {**ON_CPU, "workload": {"kind": "StatefulSet", "replicas": 3}})
    names = [f"{workload(cluster, 'statefulset')['metadata']['name']}-{number}" for number in range(3)]
    assert sorted(pod["metadata"]["name"] for pod in until_ready(cluster, 3)) == names
    install(cluster, {**ON_CPU, "workload": {"kind": "StatefulSet", "replicas": 3}, "server": {"logVerbose": 1}})
    again = until_ready(cluster, 3)
    assert sorted(pod["metadata"]["name"] for pod in again) == names
    assert all("--log-verbose=1" in pod["spec"]["containers"][0]["args"] for pod in again)
    service = workload(cluster, "statefulset")["spec"]["serviceName"]
    assert cluster.get("service", service)["spec"]["clusterIP"] == "None"
