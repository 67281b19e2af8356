"""What a rollback leaves alone: the pods that an autoscaler will look after, and a key that was exchanged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cluster_calls import Calls, until
from control_plane import ControlPlane
from deploy_calls import BROKEN, DIGITS, FROM_CONFIG_MAP, Deploy, deploying

pytestmark = pytest.mark.timeout(900)
APPLY = ("apply", DIGITS, *FROM_CONFIG_MAP, "--yes")
OURS = "--selector=app.kubernetes.io/instance=digits"
METRIC = "triton_queue_depth"
SCALED = ("--set", "autoscaling.hpa.enabled=true", "--set", "autoscaling.minReplicas=4", "--set",
          "autoscaling.queueDepthPerPod=8")  # fmt: skip
FIXED = ("--set", "workload.replicas=4")


@pytest.fixture
def deploy(cluster: Calls, tmp_path: Path) -> Deploy:
    return deploying(tmp_path, cluster)


def pods(cluster: Calls) -> set[str]:
    """The servers that are there and not about to go."""
    return {
        pod["metadata"]["uid"] for pod in cluster.items("pods", OURS) if "deletionTimestamp" not in pod["metadata"]
    }


def replicas(cluster: Calls) -> int:
    [found] = cluster.items("deployments", OURS)
    return int(found["spec"]["replicas"])


def scaled_down(cluster: Calls) -> list[str]:
    """Every time that pods were taken away."""
    said = [event.get("message", "") for event in cluster.items("events")]
    return [text for text in said if "Scaled down" in text]


def test_back_to_an_autoscaler_no_pod_is_taken_away(
    control_plane: ControlPlane, cluster: Calls, deploy: Deploy
) -> None:
    control_plane.metrics.report(cluster.namespace, METRIC, "8")  # the target: the number stays as it is
    deploy.ok(*APPLY, *SCALED)
    until("the autoscaler's least", lambda: replicas(cluster) == 4 and len(pods(cluster)) == 4)
    deploy.ok(*APPLY, *FIXED)
    before = pods(cluster)
    assert (replicas(cluster), len(before), scaled_down(cluster)) == (4, 4, [])

    back = json.loads(deploy.ok("rollback", DIGITS, "--yes", "--json").out)
    assert (back["revision"], back["as"], back["ready"]) == (3, 1, True)
    assert (replicas(cluster), scaled_down(cluster)) == (4, [])
    assert pods(cluster) == before
    assert len(cluster.items("hpa", OURS)) == 1

    # What is sent again is what was sent then, but for the number.
    def sent(revision: int) -> list[str]:
        lines = cluster.helm("get", "manifest", "digits", f"--revision={revision}").splitlines()
        return [
            line
            for line in lines
            if not line.strip().startswith(("replicas: 4", "tritonkit/replicas", "annotations:"))
        ]

    assert sent(3) == sent(1)

    # And it counts as the first, as one of Helm's own would.
    deploy.refused("TK453", "no revision before this one to go back to", "rollback", DIGITS, "--yes")


def test_an_upgrade_that_fails_is_taken_back_to_an_autoscaler_with_all_pods(
    control_plane: ControlPlane, cluster: Calls, deploy: Deploy
) -> None:
    control_plane.metrics.report(cluster.namespace, METRIC, "8")
    deploy.ok(*APPLY, *SCALED)
    until("the autoscaler's least", lambda: replicas(cluster) == 4 and len(pods(cluster)) == 4)
    before = pods(cluster)
    ended = deploy.refused("TK452", "rolled back to revision 1", *APPLY, *FIXED, *BROKEN, "--timeout", "3")
    assert "revision 1 serves again" in ended.err
    assert (replicas(cluster), before <= pods(cluster)) == (4, True)
    # Only what was broken has gone.
    assert all("from 1" in text or "to 0" in text for text in scaled_down(cluster)), scaled_down(cluster)


def test_a_key_of_ones_own_is_exchanged_and_no_rollback_brings_the_old_one_back(
    cluster: Calls, deploy: Deploy
) -> None:
    """As the guide says: the Secret is changed by standard input, and the pods are started anew."""

    def secret(value: str) -> None:
        made = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "digits-key"},
            "stringData": {"key": value},
        }
        cluster.apply(made)

    def key() -> str:
        found: str = cluster.get("secret", "digits-key")["data"]["key"]
        return found

    mine = ("--set", "restrictedApis.existingSecret=digits-key")
    secret("first")
    deploy.ok(*APPLY, *mine)
    assert [item for item in cluster.items("secrets", OURS) if item["type"] == "Opaque"] == []
    before, old = pods(cluster), key()

    secret("second")
    cluster.kubectl("rollout", "restart", "deployment/digits-triton")
    cluster.kubectl("rollout", "status", "deployment/digits-triton", "--timeout=60s")
    until("the pods are others", lambda: not before & pods(cluster))
    new = key()
    assert new != old
    assert deploy.run("diff", DIGITS, *FROM_CONFIG_MAP, *mine).status == 0

    deploy.ok(*APPLY, *mine, "--set", "server.logVerbose=1")
    deploy.ok("rollback", DIGITS, "--yes")
    assert key() == new
