"""The digits, from their spec to a release on a cluster, through an upgrade and back, and off it again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from cluster_calls import Calls
from deploy_calls import DIGITS, Deploy, deploying

OURS = "--selector=app.kubernetes.io/instance=digits"

pytestmark = pytest.mark.timeout(900)


def edit(deploy: Deploy, before: str, after: str) -> None:
    """Changes the spec, as a person does."""
    spec = deploy.folder / DIGITS
    text = spec.read_text(encoding="utf-8")
    assert text.count(before) == 1
    spec.write_text(text.replace(before, after), encoding="utf-8")


def test_digits_from_spec_to_a_release_and_through_an_upgrade(cluster: Calls, tmp_path: Path) -> None:
    deploy = deploying(tmp_path, cluster)

    # The values follow from the spec, and say from where.
    values = deploy.folder / "digits-values.yaml"
    assert "p99Ms: 20" in deploy.ok("values", DIGITS).out
    values.write_text("modelRepository: {source: configMap}\n", encoding="utf-8")
    mine = ("--values", str(values))

    # What would be sent can be read before: everything is new, and no key is shown.
    first = deploy.run("diff", DIGITS, *mine)
    assert first.status == 1
    assert "(not installed): 9 to create" in first.err
    assert "key: (hidden)" in first.out
    rendered = list(yaml.safe_load_all(deploy.ok("render", DIGITS, *mine).out))
    assert "Secret" not in [item["kind"] for item in rendered]

    # Installed: every pod serves when the command comes back, on nodes with GPUs.
    applied = json.loads(deploy.ok("apply", DIGITS, *mine, "--yes", "--json").out)
    assert (applied["revision"], applied["ready"], applied["pods"]) == (1, True, {"ready": 2, "wanted": 2})
    pods = cluster.items("pods", OURS)
    assert {pod["spec"]["nodeName"][:5] for pod in pods} <= {"h200-", "l4-0"}
    assert len(pods) == 2
    [secret] = cluster.items("secrets", OURS)
    for ended in (first, deploy.ok("kubectl", DIGITS, *mine)):
        assert secret["data"]["key"] not in ended.out + ended.err

    # What is sent is what was rendered.
    live = {(item["kind"], item["metadata"]["name"]) for item in rendered} | {("Secret", "digits-triton-restricted")}
    assert {tuple(change["object"].split()) for change in applied["changes"]} == live

    # Nothing to do is said, and nothing is done.
    assert deploy.run("diff", DIGITS, *mine).status == 0
    again = deploy.ok("apply", DIGITS, *mine, "--yes")
    assert "revision 1 is as the specs say" in again.err

    # The spec is changed: the difference is read, then sent, and the pods roll over.
    edit(deploy, "preferred: [8, 16, 32]", "preferred: [16, 32]")
    changed = deploy.run("diff", DIGITS, *mine)
    assert changed.status == 1
    assert "ConfigMap digits-triton-models (on the cluster)" in changed.out
    assert "Deployment digits-triton (on the cluster)" in changed.out
    assert "Service digits" not in changed.out
    upgraded = json.loads(deploy.ok("apply", DIGITS, *mine, "--yes", "--json").out)
    assert (upgraded["revision"], upgraded["ready"]) == (2, True)
    assert not {pod["metadata"]["name"] for pod in pods} & {
        pod["metadata"]["name"] for pod in cluster.items("pods", OURS)
    }
    assert cluster.items("secrets", OURS)[0]["data"] == secret["data"]

    # What is there, and back again.
    status = json.loads(deploy.ok("status", DIGITS, "--json").out)
    assert (status["revision"], status["status"], status["ready"], len(status["pods"])) == (2, "deployed", True, 2)
    assert any(endpoint.startswith("grpc digits-triton-grpc.") for endpoint in status["endpoints"])
    back = json.loads(deploy.ok("rollback", DIGITS, "--yes", "--json").out)
    assert (back["revision"], back["as"], back["ready"]) == (3, 1, True)
    assert deploy.run("diff", DIGITS, *mine).status == 1  # the spec is ahead again
    edit(deploy, "preferred: [16, 32]", "preferred: [8, 16, 32]")
    assert deploy.run("diff", DIGITS, *mine).status == 0

    # And off the cluster.
    removed = deploy.ok("delete", DIGITS, "--yes")
    assert "stays: Namespace" in removed.err
    for kind in ("deployments", "pods", "configmaps", "secrets", "services"):
        assert cluster.items(kind, OURS) == []
    deploy.refused("TK453", "there is no release `digits`", "status", DIGITS)
