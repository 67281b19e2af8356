"""What keeps a release from going to a cluster is told before anything of it is sent."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from cluster_calls import Calls
from control_plane import CONTEXT, ControlPlane
from deploy_calls import DIGITS, FROM_CONFIG_MAP, Deploy, deploying

pytestmark = pytest.mark.timeout(900)
APPLY = ("apply", DIGITS, *FROM_CONFIG_MAP, "--yes")
NODES = "nvidia.com/gpu.product"


@pytest.fixture
def deploy(cluster: Calls, tmp_path: Path) -> Deploy:
    return deploying(tmp_path, cluster)


def untouched(cluster: Calls) -> bool:
    """Nothing of a release is there: no object, and no record of Helm."""
    kinds = "deployments,pods,configmaps,services,secrets,networkpolicies"
    names = {item["metadata"]["name"] for item in cluster.items(kinds)}
    return names <= {"kube-root-ca.crt", "kubernetes"}


def kubeconfig(folder: Path, cluster: Calls, **changes: Any) -> Path:
    """The test's kubeconfig, with another address."""
    config = json.loads(cluster.kubeconfig.read_text())
    config["clusters"][0]["cluster"] |= changes
    path = folder / "other.kubeconfig"
    path.write_text(json.dumps(config))
    return path


def test_no_cluster_and_another_context(deploy: Deploy, tmp_path: Path, cluster: Calls) -> None:
    gone = kubeconfig(tmp_path, cluster, server="https://127.0.0.1:1")
    deploy.refused(
        "TK444", r"the cluster at https://127.0.0.1:1 does not answer: .*refused", *APPLY, "--kubeconfig", str(gone)
    )
    stranger = deploy.run(*APPLY, "--context", "production")
    assert stranger.status == 1
    assert f"contexts of the kubeconfig: {CONTEXT}" in stranger.err
    token = json.loads(cluster.kubeconfig.read_text())
    token["users"][0]["user"]["token"] = "old"
    gone.write_text(json.dumps(token))
    deploy.refused("TK444", "refuses to be talked to.*logged in|credentials", *APPLY, "--kubeconfig", str(gone))
    assert untouched(cluster)


def test_a_cluster_that_is_not_local_is_touched_only_when_it_is_named(
    deploy: Deploy, tmp_path: Path, cluster: Calls
) -> None:
    """The address is of nobody (RFC 5737): were it asked, the answer would be another one."""
    far = kubeconfig(tmp_path, cluster, server="https://203.0.113.7:6443")
    words = f"the current context `{CONTEXT}` is of https://203.0.113.7:6443, which is not on this machine"
    for command in (APPLY, ("rollback", DIGITS, "--yes"), ("delete", DIGITS, "--yes")):
        ended = deploy.refused("TK445", words, *command, "--kubeconfig", str(far))
        assert f"--context {CONTEXT}" in ended.err
        assert "does not answer" not in ended.err


def test_without_yes_and_without_a_terminal_nothing_is_changed(deploy: Deploy, cluster: Calls) -> None:
    ended = deploy.run(*APPLY[:-1], stdin="y\n")
    assert ended.status == 1
    assert "nobody can be asked" in ended.err
    assert untouched(cluster)


def test_everything_that_is_in_the_way_is_told_at_once(deploy: Deploy, cluster: Calls) -> None:
    """No namespace and no node with such a GPU."""
    ended = deploy.refused(
        "TK450",
        "there is no namespace `nowhere`",
        *APPLY,
        "--set",
        "gpu.product=NVIDIA-B300",
        "--namespace",
        "nowhere",
    )
    assert "error[TK448]" in ended.err
    assert f"no node with nvidia.com/gpu has {NODES} In NVIDIA-B300" in ended.err
    assert "NVIDIA-H200, NVIDIA-L4" in ended.err
    assert "found 2 errors" in ended.err


def test_nodes_that_are_too_small_and_too_few(deploy: Deploy, cluster: Calls) -> None:
    deploy.refused(
        "TK448", "each pod takes 8 nvidia.com/gpu, and the largest node .* has 4", *APPLY, "--set", "gpu.count=8"
    )
    assert untouched(cluster)
    ended = deploy.run("diff", DIGITS, *FROM_CONFIG_MAP, "--set", "gpu.count=8")
    assert "warning[TK448]" in ended.err  # it is shown all the same: nothing is sent
    assert "to create" in ended.err
    ended = deploy.run("diff", DIGITS, *FROM_CONFIG_MAP, "--set", "gpu.count=4", "--set", "workload.replicas=3")
    assert "warning[TK455]" in ended.err
    assert "3 pods take 4 nvidia.com/gpu each, and the nodes have room for 2" in ended.err


def test_a_kind_that_the_cluster_does_not_know(deploy: Deploy, cluster: Calls, control_plane: ControlPlane) -> None:
    """The Gateway API's resources are taken away while the test looks."""
    crd = "grpcroutes.gateway.networking.k8s.io"
    text = control_plane.kubectl("get", "crd", crd, "--output=json")
    kept = {key: value for key, value in json.loads(text).items() if key != "status"}
    kept["metadata"] = {
        key: kept["metadata"][key] for key in ("name", "labels", "annotations") if key in kept["metadata"]
    }
    control_plane.kubectl("delete", "crd", crd)
    try:
        ended = deploy.refused(
            "TK447", r"does not know gateway.networking.k8s.io/v1, and the release has GRPCRoute digits-triton", *APPLY,
            "--set", "gateway.grpcRoute.enabled=true", "--set", "gateway.grpcRoute.parentRefs=[{name: gate}]", "--set", "server.grpcMaxConnectionAgeMs=0",
        )  # fmt: skip
        assert "install the Gateway API's resources there, or turn off `gateway.grpcRoute`" in ended.err
        assert untouched(cluster)
    finally:
        control_plane.kubectl("create", "-f", "-", stdin=json.dumps(kept))


def role(cluster: Calls, control_plane: ControlPlane, rules: list[dict[str, Any]]) -> Path:
    """The kubeconfig of somebody with these rights in the namespace."""
    subject = {"kind": "ServiceAccount", "name": "somebody", "namespace": cluster.namespace}
    group = "rbac.authorization.k8s.io"
    cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "somebody"}},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "some"}, "rules": rules},
        {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": {"name": "some"}, "subjects": [subject],
         "roleRef": {"apiGroup": group, "kind": "Role", "name": "some"}},
    )  # fmt: skip
    return control_plane.as_service_account(cluster.namespace, "somebody").kubeconfig


def rule(group: str, *resources: str, verbs: str) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": list(resources), "verbs": verbs.split()}


def test_rights_that_are_missing_are_all_named(deploy: Deploy, cluster: Calls, control_plane: ControlPlane) -> None:
    theirs = role(cluster, control_plane, [rule("", "pods", "services", verbs="get list")])
    ended = deploy.refused(
        "TK446", "you may not get, create, update, patch, delete or list deployments.apps", *APPLY,
        "--kubeconfig", str(theirs),
    )  # fmt: skip
    assert "you may not create, update, patch or delete services in namespace" in ended.err
    assert "pods" not in ended.err
    assert "secrets" in ended.err
    assert "you may not list the nodes" in ended.err


def test_without_rights_nothing_is_taken_back_or_removed_by_halves(
    deploy: Deploy, cluster: Calls, control_plane: ControlPlane
) -> None:
    """Who may read everything and write Helm's records would leave the objects as they are, and the record changed."""
    deploy.ok(*APPLY)
    deploy.ok(*APPLY, "--set", "server.logVerbose=1")
    theirs = role(cluster, control_plane, [
        rule("*", "*", verbs="get list"), rule("", "secrets", verbs="get list create update delete patch"),
    ])  # fmt: skip
    mine = ("--yes", "--kubeconfig", str(theirs))
    before = cluster.helm("history", "digits", "--output=json")
    ended = deploy.refused(
        "TK446", "you may not create, update, patch or delete deployments.apps", "rollback", DIGITS, *mine
    )
    assert "deploy/rbac/deployer.yaml" in ended.err
    deploy.refused("TK446", "you may not delete deployments.apps", "delete", DIGITS, *mine)
    assert cluster.helm("history", "digits", "--output=json") == before
    assert len(cluster.items("deployments")) == 1
    # And who may read nothing is told so by what only reads.
    blind = role(cluster, control_plane, [rule("", "configmaps", verbs="get")])
    ended = deploy.refused(
        "TK446", "Helm's records of the release cannot be read", "status", DIGITS, "--kubeconfig", str(blind)
    )
    assert "Secrets of the namespace" in ended.err


def test_the_rights_that_are_asked_for_are_enough(
    deploy: Deploy, cluster: Calls, control_plane: ControlPlane
) -> None:
    """Installed, looked at and removed by somebody with exactly these: nothing of the cluster, nothing cluster-wide."""
    full = "get create update patch delete"
    theirs = role(cluster, control_plane, [
        rule("", "configmaps", "serviceaccounts", verbs=full),
        rule("", "services", "secrets", verbs=f"{full} list"),
        rule("", "pods", "events", verbs="list"),
        rule("apps", "deployments", verbs=f"{full} list"),
        rule("apps", "replicasets", "statefulsets", verbs="list"),
        rule("batch", "jobs", verbs="list"),
        rule("autoscaling", "horizontalpodautoscalers", verbs="list"),
        rule("networking.k8s.io", "networkpolicies", verbs=full),
        rule("policy", "poddisruptionbudgets", verbs=f"{full} list"),
    ])  # fmt: skip
    mine = ("--kubeconfig", str(theirs))
    deploy.ok(*APPLY, *mine)
    deploy.ok("status", DIGITS, *mine)
    assert deploy.run("diff", DIGITS, *FROM_CONFIG_MAP, *mine, "--set", "server.logVerbose=1").status == 1
    deploy.ok(*APPLY, *mine, "--set", "server.logVerbose=1")
    deploy.ok("rollback", DIGITS, "--yes", *mine)
    deploy.ok("delete", DIGITS, "--yes", *mine)


def made_pending(cluster: Calls, status: str) -> None:
    """Helm's record of the newest revision as a Helm that was killed leaves it."""
    secret = max(
        cluster.items("secrets", "--selector=owner=helm,name=digits"),
        key=lambda item: int(item["metadata"]["labels"]["version"]),
    )
    record = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
    record["info"]["status"] = status
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(record).encode()))).decode()
    secret["data"]["release"] = packed
    secret["metadata"]["labels"]["status"] = status
    cluster.kubectl("replace", "-f", "-", stdin=json.dumps(secret))


def test_a_release_that_was_left_half_way(deploy: Deploy, cluster: Calls) -> None:
    deploy.ok(*APPLY)
    deploy.ok(*APPLY, "--set", "server.logVerbose=1")
    made_pending(cluster, "pending-upgrade")
    ended = deploy.refused("TK449", "has been pending-upgrade since", *APPLY, "--set", "server.logVerbose=2")
    assert "`tritonkit deploy rollback` brings back revision 1" in ended.err
    assert "pending-upgrade" in deploy.run("status", DIGITS).out
    deploy.ok("rollback", DIGITS, "--yes")
    deploy.ok(*APPLY, "--set", "server.logVerbose=2")


def test_a_first_installation_that_failed(deploy: Deploy, cluster: Calls) -> None:
    deploy.ok(*APPLY)
    made_pending(cluster, "failed")
    ended = deploy.refused("TK449", "was never installed: its first revision failed", *APPLY)
    assert "`tritonkit deploy delete`" in ended.err
    deploy.ok("delete", DIGITS, "--yes")
    deploy.ok(*APPLY)


def test_what_the_cluster_would_refuse_is_refused_in_the_dry_run(deploy: Deploy, cluster: Calls) -> None:
    """A StatefulSet's selector cannot change, and another's object is not taken over."""
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "digits-triton"}})
    ended = deploy.refused("TK451", "ServiceAccount.*digits-triton.*exists and cannot be imported", *APPLY)
    assert "deployments" not in ended.err
    assert cluster.items("deployments") == []
