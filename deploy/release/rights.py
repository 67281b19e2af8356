"""What the cluster knows of the kinds of a release, and what the user may do with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from deploy.release.cluster import Cluster
from deploy.release.objects import Object
from deploy.tools.kubectl import name_of
from generator.problems import Problem

# What helm and this program do with each object of a release.
WRITING = ("get", "create", "update", "patch", "delete")
REMOVING = ("get", "delete")


_REMEDIES: Mapping[str, tuple[str, str]] = {
    "monitoring.coreos.com": (
        "the Prometheus Operator's resources",
        "`metrics.podMonitor`, `metrics.serviceMonitor` and `metrics.prometheusRule`",
    ),
    "keda.sh": ("KEDA", "`autoscaling.keda`"),
    "gateway.networking.k8s.io": ("the Gateway API's resources", "`gateway.grpcRoute` and `gateway.httpRoute`"),
}


@dataclass(frozen=True)
class Resource:
    """What the API calls a kind in its paths, as `deployments` of `apps`."""

    group: str
    name: str

    def __str__(self) -> str:
        return f"{self.name}.{self.group}" if self.group else self.name


_RECORDS = Resource("", "secrets")  # Helm's
# What is listed, by Helm and to tell how far a rollout is and why a pod is not ready; nothing else is.
LISTED = (
    _RECORDS,
    Resource("", "events"),
    Resource("", "pods"),
    Resource("", "services"),
    *(Resource("apps", name) for name in ("deployments", "replicasets", "statefulsets")),
    Resource("autoscaling", "horizontalpodautoscalers"),
    Resource("batch", "jobs"),
    Resource("policy", "poddisruptionbudgets"),
)
LISTED_WHEN_REMOVED = (_RECORDS, Resource("", "pods"))


def resources_of(
    cluster: Cluster, objects: Sequence[Object]
) -> tuple[dict[tuple[str, str], Resource], list[Problem]]:
    """The resource of every (apiVersion, kind) that the cluster knows, and a problem for what it does not.

    Raises KubectlError when it does not answer.
    """
    found: dict[tuple[str, str], Resource] = {}
    problems = []
    for version in dict.fromkeys(str(item["apiVersion"]) for item in objects):
        group = version.rpartition("/")[0]
        listed = cluster.kubectl.raw(f"/apis/{version}" if group else f"/api/{version}") or {}
        known = {entry["kind"]: entry["name"] for entry in listed.get("resources", ()) if "/" not in entry["name"]}
        mine = [item for item in objects if item["apiVersion"] == version]
        for item in mine:
            if item["kind"] in known:
                found[version, item["kind"]] = Resource(group, known[item["kind"]])
        missing = [item for item in mine if item["kind"] not in known]
        if missing:
            problems.append(_unknown(cluster, version, group, missing))
    return found, problems


def _unknown(cluster: Cluster, version: str, group: str, missing: Sequence[Object]) -> Problem:
    listed = ", ".join(dict.fromkeys(name_of(item) for item in missing))
    message = f"the cluster does not know {version}, and the release has {listed}"
    if group in _REMEDIES:
        what, values = _REMEDIES[group]
        return Problem("TK447", cluster.place, "", message, f"install {what} there, or turn off {values}")
    return Problem("TK447", cluster.place, "", message, "the chart needs Kubernetes 1.29 or later")


def denied(
    cluster: Cluster, resources: Iterable[Resource], *, create_namespace: bool = False,
    verbs: Sequence[str] = WRITING, listed: Sequence[Resource] = LISTED,
) -> list[Problem]:  # fmt: skip
    """What is done with these resources (`verbs`), with Helm's records, and to see how far it is (`listed`), and the
    user may not do: a problem for each resource. Raises KubectlError."""
    asked = list(_asked(resources, verbs, listed, create_namespace=create_namespace))
    reviews = cluster.kubectl.create([_review(cluster, *one) for one in asked], strict=False)
    refused: dict[Resource, list[str]] = {}
    for (resource, verb), review in zip(asked, reviews, strict=True):
        if not review.get("status", {}).get("allowed"):
            refused.setdefault(resource, []).append(verb)
    return [
        Problem(
            "TK446", cluster.place, str(resource),
            f"you may not {_listed(verbs)} {resource} in namespace `{cluster.namespace}`",
            "ask who runs the cluster for the role in deploy/rbac/deployer.yaml, or for another context",
        )
        for resource, verbs in refused.items()
    ]  # fmt: skip


def _asked(
    resources: Iterable[Resource], verbs: Sequence[str], listed: Sequence[Resource], *, create_namespace: bool
) -> Iterator[tuple[Resource, str]]:
    written = [(resource, verb) for resource in dict.fromkeys(resources) for verb in verbs]
    records = [(_RECORDS, verb) for verb in WRITING if verb != "patch"]
    yield from dict.fromkeys([*written, *records, *((resource, "list") for resource in listed)])
    if create_namespace:
        yield Resource("", "namespaces"), "create"


def _review(cluster: Cluster, resource: Resource, verb: str) -> Object:
    attributes = {"verb": verb, "group": resource.group, "resource": resource.name}
    if resource.name != "namespaces":
        attributes["namespace"] = cluster.namespace
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }


def _listed(verbs: Sequence[str]) -> str:
    return verbs[0] if len(verbs) == 1 else f"{', '.join(verbs[:-1])} or {verbs[-1]}"
