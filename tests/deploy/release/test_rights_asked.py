"""What is asked of a cluster before anything is sent, and what its answers mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from deploy.release.cluster import Cluster
from deploy.release.rights import LISTED_WHEN_REMOVED, REMOVING, WRITING, Resource, denied, resources_of
from deploy.tools.helm import Helm
from deploy.tools.kubectl import Context, Kubectl

CLONE = Path(__file__).parents[3]
DEPLOYMENTS = Resource("apps", "deployments")


@dataclass
class Api:
    """A kubectl whose user has the rights in `allowed`, on a cluster that knows the kinds of `known`."""

    allowed: set[tuple[str, str, str]] = field(default_factory=set)
    known: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def create(self, objects: Sequence[dict[str, Any]], *, strict: bool = True) -> list[dict[str, Any]]:
        self.asked = [item["spec"]["resourceAttributes"] for item in objects]
        return [{"status": {"allowed": (a["group"], a["resource"], a["verb"]) in self.allowed}} for a in self.asked]

    def raw(self, path: str) -> Any:
        found = self.known.get(path)
        if found is None:
            return None
        return {
            "resources": [{"kind": kind, "name": name} for kind, name in found.items()]
            + [{"kind": "Scale", "name": "x/scale"}]
        }


def cluster(api: Api) -> Cluster:
    return Cluster(Helm(Path("helm")), cast(Kubectl, api), Context("test", "https://127.0.0.1:1"), "ml")


def test_every_right_that_is_missing_is_named_once_a_resource() -> None:
    api = Api({("apps", "deployments", verb) for verb in ("get", "list", "create")})
    told = {problem.field: problem.message for problem in denied(cluster(api), [DEPLOYMENTS], create_namespace=False)}
    assert told["deployments.apps"] == "you may not update, patch or delete deployments.apps in namespace `ml`"
    assert told["secrets"] == "you may not get, create, update, delete or list secrets in namespace `ml`"
    assert told["events"] == "you may not list events in namespace `ml`"
    for name in ("services", "horizontalpodautoscalers.autoscaling", "poddisruptionbudgets.policy"):
        assert told[name] == f"you may not list {name} in namespace `ml`"  # `status` looks at them
    assert "namespaces" not in told


def test_what_is_only_removed_needs_less() -> None:
    records = {("", "secrets", verb) for verb in ("get", "create", "update", "delete", "list")}
    api = Api(records | {("", "pods", "list"), ("apps", "deployments", "get")})

    def told() -> list[str]:
        asked = denied(cluster(api), [DEPLOYMENTS], verbs=REMOVING, listed=LISTED_WHEN_REMOVED)
        return [problem.message for problem in asked]

    assert told() == ["you may not delete deployments.apps in namespace `ml`"]
    api.allowed.add(("apps", "deployments", "delete"))
    assert told() == []


def test_a_namespace_is_made_only_when_it_is_asked_for() -> None:
    api = Api()
    assert "namespaces" in [p.field for p in denied(cluster(api), [DEPLOYMENTS], create_namespace=True)]
    assert [a for a in api.asked if a["resource"] == "namespaces"] == [
        {"verb": "create", "group": "", "resource": "namespaces"}
    ]
    assert all(a["namespace"] == "ml" for a in api.asked if a["resource"] != "namespaces")


def test_the_documented_role_has_all_that_is_asked_for() -> None:
    documents = yaml.safe_load_all((CLONE / "deploy" / "rbac" / "deployer.yaml").read_text(encoding="utf-8"))
    rules = next(item["rules"] for item in documents if item["kind"] == "Role")
    granted = {
        (group, resource, verb)
        for rule in rules for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]
    }  # fmt: skip
    written = [Resource(group, resource) for group, resource, verb in sorted(granted) if verb == "create"]
    assert {resource.group for resource in written} >= {
        "keda.sh",
        "gateway.networking.k8s.io",
        "monitoring.coreos.com",
    }
    assert denied(cluster(Api(granted)), written, create_namespace=False) == []
    assert set(WRITING) <= {verb for *_, verb in granted}


def test_kinds_and_those_that_the_cluster_does_not_know() -> None:
    def item(version: str, kind: str, name: str = "digits") -> dict[str, Any]:
        return {"apiVersion": version, "kind": kind, "metadata": {"name": name}}

    api = Api(
        known={
            "/api/v1": {"Service": "services"},
            "/apis/apps/v1": {"Deployment": "deployments"},
            "/apis/keda.sh/v1alpha1": {},
        }
    )
    objects = [
        item("v1", "Service"), item("apps/v1", "Deployment"), item("keda.sh/v1alpha1", "ScaledObject"),
        item("gateway.networking.k8s.io/v1", "GRPCRoute"), item("gateway.networking.k8s.io/v1", "HTTPRoute", "two"),
        item("policy/v9", "PodDisruptionBudget"),
    ]  # fmt: skip
    found, problems = resources_of(cluster(api), objects)
    assert list(map(str, found.values())) == ["services", "deployments.apps"]
    assert [problem.code for problem in problems] == ["TK447"] * 3
    keda, gateway, policy = problems
    assert keda.message == "the cluster does not know keda.sh/v1alpha1, and the release has ScaledObject digits"
    assert "install KEDA there, or turn off `autoscaling.keda`" in keda.hint
    assert "GRPCRoute digits, HTTPRoute two" in gateway.message
    assert "Kubernetes 1.29" in policy.hint
