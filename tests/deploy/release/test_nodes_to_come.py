"""Nodes that are not there: in the way of a change, unless they are to come; only told where nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from deploy.release.cluster import Cluster
from deploy.release.preflight import preflight
from deploy.tools.helm import Helm
from deploy.tools.kubectl import Context, ForbiddenError, Kubectl
from generator.problems import ProblemsError, Severity

POD = {"containers": [{"name": "a", "resources": {"limits": {"nvidia.com/gpu": 1}}}]}
WORKLOAD: dict[str, Any] = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "digits"}, "spec": {"template": {"spec": POD}},
}  # fmt: skip


class Empty:
    """A cluster whose node pool is scaled to zero, and where one may do everything."""

    def raw(self, path: str) -> Any:
        return {"resources": [{"kind": "Deployment", "name": "deployments"}]} if "/apps/" in path else {}

    def get(self, _kinds: Sequence[str], *_words: str, namespaced: bool = True) -> list[Any]:
        return []

    def create(self, objects: Sequence[Any], *, strict: bool = True) -> list[Any]:
        return [{"status": {"allowed": True}} for _ in objects]

    def history(self, _name: str) -> list[Any]:
        return []


JOB: dict[str, Any] = {
    "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "engine-1"},
    "spec": {"template": {"spec": {"containers": [], "initContainers": POD["containers"]}}},
}  # fmt: skip


class Built(Empty):
    """One where the Job has ended, or has failed, or where one may not look."""

    def __init__(self, condition: str = "", *, forbidden: bool = False) -> None:
        self.condition, self.forbidden = condition, forbidden

    def raw(self, path: str) -> Any:
        return {"resources": [{"kind": "Job", "name": "jobs"}]} if "/batch/" in path else {}

    def get(self, kinds: Sequence[str], *_words: str, namespaced: bool = True) -> list[Any]:
        if "jobs" not in kinds:
            return []
        if self.forbidden:
            raise ForbiddenError("you may not list jobs")
        status = {"conditions": [{"type": self.condition, "status": "True"}]}
        return [{"kind": "Job", "metadata": {"name": "engine-1"}, "status": status}]


@pytest.mark.parametrize(
    ("there", "told"), [(Built("Complete"), []), (Built("Failed"), ["TK448"]), (Built(forbidden=True), ["TK448"])]
)
def test_a_job_that_has_ended_needs_no_node(there: Built, told: list[str]) -> None:
    found = preflight(cluster(there), "digits", [JOB], create_namespace=False, nodes_must_do=False)
    assert [problem.code for problem in found.problems] == told


def cluster(empty: Empty | None = None) -> Cluster:
    empty = empty or Empty()
    return Cluster(cast(Helm, empty), cast(Kubectl, empty), Context("test", "https://127.0.0.1:1"), "ml")


def test_they_are_in_the_way_unless_they_are_to_come() -> None:
    with pytest.raises(ProblemsError) as caught:
        preflight(cluster(), "digits", [WORKLOAD], create_namespace=False)
    [problem] = caught.value.problems
    assert (problem.code, problem.severity) == ("TK448", Severity.ERROR)
    assert problem.hint.endswith("--no-node-check where such nodes are to come")
    for more in ({"nodes_must_do": False}, {"changing": False}):
        [problem] = preflight(cluster(), "digits", [WORKLOAD], create_namespace=False, **more).problems
        assert (problem.code, problem.severity) == ("TK448", Severity.WARNING)
        assert "no-node-check" not in problem.hint
