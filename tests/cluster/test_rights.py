"""Rights: deploy/rbac/deployer.yaml is enough for everything that `tritonkit deploy` does, and no more than is used.

What is used is what the API server has written down in its audit log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from chart_calls import ON_CPU, claim, install, running_pods
from cluster_calls import CLONE, CallError, Calls
from control_plane import ControlPlane
from deploy_calls import DIGITS, Deploy, digits_project

ROLE = CLONE / "deploy" / "rbac" / "deployer.yaml"
DEPLOYER = "deployer"
RULES: list[dict[str, Any]] = next(
    item["rules"] for item in yaml.safe_load_all(ROLE.read_text(encoding="utf-8")) if item["kind"] == "Role"
)
YES = ("--yes", "--timeout", "120")


class Right(NamedTuple):
    group: str
    resource: str
    verb: str


GRANTED = {
    Right(group, resource, verb)
    for rule in RULES
    for group in rule["apiGroups"]
    for resource in rule["resources"]
    for verb in rule["verbs"]
}


def everything() -> dict[str, Any]:
    """Values with every kind of object that can stand beside the others."""
    gateway = {"enabled": True, "parentRefs": [{"name": "public"}]}
    job = {"name": "digits", "gpuProduct": "NVIDIA-H200", "command": ["trtexec"], "memory": "1Gi", "cpu": "1"}
    return {
        "modelRepository": {"source": "configMap"},
        "metrics": {
            "podMonitor": {"enabled": True},
            "prometheusRule": {"enabled": True},
            "dashboards": {"enabled": True},
        },
        "autoscaling": {"hpa": {"enabled": True}, "minReplicas": 1, "maxReplicas": 2},
        "gateway": {"grpcRoute": gateway, "httpRoute": gateway},
        "server": {"grpcMaxConnectionAgeMs": 0},
        "engineBuild": {"enabled": True, "image": "tensorrt", "claimName": "engines", "jobs": [job]},
    }


def others() -> dict[str, Any]:
    """Values with the kinds that exclude one of the former."""
    keda = {"enabled": True, "serverAddress": "http://prometheus:9090"}
    values = everything()
    return {
        **values,
        "workload": {"kind": "StatefulSet"},
        "metrics": {**values["metrics"], "podMonitor": {"enabled": False}, "serviceMonitor": {"enabled": True}},
        "autoscaling": {"keda": keda, "minReplicas": 1, "maxReplicas": 2},
    }


@pytest.fixture
def deployer(control_plane: ControlPlane, cluster: Calls) -> Calls:
    """The calls of a service account with the documented role, and of nothing else."""
    cluster.kubectl("apply", "-f", ROLE)
    return control_plane.as_service_account(cluster.namespace, DEPLOYER)


@pytest.fixture
def deploy(deployer: Calls, tmp_path: Path) -> Deploy:
    """`tritonkit deploy` by it."""
    return Deploy(digits_project(tmp_path / "project"), deployer)


def given(deploy: Deploy, values: Mapping[str, Any]) -> tuple[str, str]:
    """The options for these values."""
    path = deploy.folder / "values.yaml"
    path.write_text(json.dumps(values), encoding="utf-8")
    return "--values", str(path)


def serve_on(deploy: Deploy, release: str) -> None:
    """Changes the release of Triton in the spec."""
    spec = deploy.folder / DIGITS
    text, count = re.subn(r'server: "[\d.]+"', f'server: "{release}"', spec.read_text(encoding="utf-8"))
    assert count == 1
    spec.write_text(text, encoding="utf-8")


def used(control_plane: ControlPlane, namespace: str) -> Iterator[Right]:
    """What the deployer has asked the API server for in its namespace; the server writes before it answers."""
    user = f"system:serviceaccount:{namespace}:{DEPLOYER}"
    for line in (control_plane.root / "logs" / "audit.log").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        what = event.get("objectRef")
        if event["user"]["username"] == user and what and what.get("namespace") and what["resource"] != "namespaces":
            yield Right(what.get("apiGroup", ""), what["resource"], event["verb"])


def test_everything_can_be_deployed_and_no_right_lies_idle(
    control_plane: ControlPlane, cluster: Calls, deploy: Deploy
) -> None:
    claim(cluster, "engines")
    for values in (everything, others):
        given_values = given(deploy, values())
        for release in ("26.06", "26.07"):
            # A label of every object, and none of a Job's pods: that Job stays, and is changed.
            serve_on(deploy, release)
            deploy.ok("apply", *given_values, *YES)  # with a diff
        deploy.ok("status")
        if values is everything:
            deploy.ok("rollback", *YES)
        deploy.ok("delete", *YES)
    assert cluster.items("deployments,statefulsets,services,configmaps,poddisruptionbudgets")[1:] == []
    found = set(used(control_plane, cluster.namespace))
    assert found - GRANTED == set(), "asked for, and not granted"
    assert GRANTED - found == set(), "granted, and never asked for"


def named(rule: Mapping[str, Any]) -> str:
    return "+".join(rule["resources"])


@pytest.mark.parametrize("left_out", RULES, ids=named)
def test_without_any_one_rule_something_is_refused(cluster: Calls, deploy: Deploy, left_out: dict[str, Any]) -> None:
    rest = [rule for rule in RULES if rule is not left_out]
    patch = [{"op": "replace", "path": "/rules", "value": rest}]
    cluster.kubectl("patch", "role", DEPLOYER, "--type=json", f"--patch={json.dumps(patch)}")
    resources = {"statefulsets", "servicemonitors", "scaledobjects"}  # those of the other values
    values = (others if resources & set(left_out["resources"]) else everything)()
    ended = deploy.refused("TK446", "you may not", "apply", *given(deploy, values), *YES)
    [group] = left_out["apiGroups"]
    for resource in left_out["resources"]:
        told = f"{resource}.{group}" if group else resource
        alone = {"podmonitors", "servicemonitors", "deployments", "statefulsets"}
        assert resource in alone or f" {told} in namespace" in ended.err
    assert cluster.items("deployments,statefulsets,services,configmaps,poddisruptionbudgets")[1:] == [], (
        "half an apply"
    )


@pytest.mark.parametrize(
    "words",
    [
        "get secrets --namespace=kube-system",
        "get pods --all-namespaces",
        "get nodes",
        "get namespaces",
        "create namespace another",
        "create role more --verb=get --resource=pods",
        "create rolebinding more --clusterrole=cluster-admin --serviceaccount=default:default",
        "get roles",
        "run shell --image=busybox",
        "get customresourcedefinitions",
    ],
)
def test_a_deployer_may_nothing_else(deployer: Calls, words: str) -> None:
    with pytest.raises(CallError, match=r"(?i)forbidden"):
        deployer.kubectl(*words.split())


def test_helm_alone_needs_no_more(deployer: Calls) -> None:
    install(deployer, ON_CPU, wait=False)
    install(deployer, {**ON_CPU, "commonLabels": {"step": "second"}}, wait=False)
    deployer.helm("rollback", "demo", "1")
    deployer.helm("uninstall", "demo")


def test_the_servers_themselves_may_nothing(control_plane: ControlPlane, cluster: Calls) -> None:
    install(cluster, ON_CPU)
    [pod, *_] = running_pods(cluster)
    account = pod["spec"]["serviceAccountName"]
    assert account != "default"
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert not any("projected" in volume for volume in pod["spec"]["volumes"]), "no token in the pod"
    server = control_plane.as_service_account(cluster.namespace, account)
    for what in ("pods", "secrets", "configmaps", "services", "deployments", "leases", "nodes"):
        with pytest.raises(CallError, match=r"(?i)forbidden"):
            server.kubectl("get", what)
    listed = server.kubectl("auth", "can-i", "--list", "--no-headers").splitlines()
    allowed = {line.split()[0] for line in listed if not line.startswith(" ")}
    assert all(name.startswith("self") for name in allowed), allowed  # who am I, and may I: everybody may ask
