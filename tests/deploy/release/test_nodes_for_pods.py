"""Whether nodes can take pods with GPUs, told before the scheduler has to."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from deploy.release.nodes import shortages
from deploy.release.objects import objects_of
from deploy.release.overrides import CHART
from deploy.tools.helm import Helm

GPU, PRODUCT = "nvidia.com/gpu", "nvidia.com/gpu.product"
TAINT = {"key": GPU, "value": "present", "effect": "NoSchedule"}
TOLERATION = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}


def node(gpus: int = 0, product: str = "NVIDIA-H200", *taints: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "Node", "metadata": {"labels": {PRODUCT: product} if gpus else {}},
        "spec": {"taints": list(taints)}, "status": {"allocatable": {"cpu": "8", **({GPU: str(gpus)} if gpus else {})}},
    }  # fmt: skip


def workload(count: int = 1, *, replicas: int = 1, kind: str = "Deployment", **pod: Any) -> dict[str, Any]:
    limits = {GPU: count} if count else {}
    spec = {"containers": [{"resources": {"limits": limits}}], "tolerations": [TOLERATION], **pod}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "digits"},
        "spec": {"replicas": replicas, "template": {"spec": spec}},
    }


def wanting(operator: str, *values: str, key: str = PRODUCT) -> dict[str, Any]:
    terms = [{"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def told(item: dict[str, Any], *nodes: dict[str, Any]) -> str:
    return "; ".join(found.message for found in shortages([item], nodes))


def test_enough_says_nothing() -> None:
    assert told(workload(2, replicas=4), node(4, "A", TAINT), node(4, "A", TAINT), node()) == ""
    assert told(workload(0), node()) == ""
    assert told({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {}}, node()) == ""


def test_no_gpu_at_all() -> None:
    [found] = shortages([workload()], [node(), node()])
    assert found.message == "each pod takes 1 nvidia.com/gpu, and none of the 2 nodes has any"
    assert "device plugin" in found.hint
    assert not found.is_total


def test_another_product() -> None:
    item = workload(affinity=wanting("In", "NVIDIA-H200"))
    assert told(item, node(1, "NVIDIA-L4"), node()) == (
        f"no node with {GPU} has {PRODUCT} In NVIDIA-H200; those 1 are NVIDIA-L4"
    )
    assert told(item, node(1, "NVIDIA-L4"), node(1)) == ""
    assert "has zone=b" in told(workload(nodeSelector={"zone": "b"}), node(1))


@pytest.mark.parametrize(
    ("affinity", "fits"),
    [
        (wanting("NotIn", "NVIDIA-L4"), True), (wanting("NotIn", "NVIDIA-H200"), False),
        (wanting("Exists"), True), (wanting("Exists", key="other"), False),
        (wanting("DoesNotExist"), False), (wanting("DoesNotExist", key="other"), True),
        (wanting("Gt", "5", key="n"), False), (wanting("Lt", "5", key="n"), False),
    ],
)  # fmt: skip
def test_expressions_as_the_scheduler_reads_them(affinity: dict[str, Any], fits: bool) -> None:
    assert (told(workload(affinity=affinity), node(1)) == "") is fits


def test_numbers_in_labels() -> None:
    machine = node(1)
    machine["metadata"]["labels"]["n"] = "7"
    assert told(workload(affinity=wanting("Gt", "5", key="n")), machine) == ""
    assert told(workload(affinity=wanting("Lt", "5", key="n")), machine) != ""


def test_taints_that_are_not_tolerated() -> None:
    cordoned = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    assert told(workload(), node(1, "A", TAINT, cordoned)) == (
        "every node that would do has a taint that the pods do not tolerate: node.kubernetes.io/unschedulable=:NoSchedule"
    )
    assert told(workload(tolerations=[{"operator": "Exists"}]), node(1, "A", TAINT, cordoned)) == ""
    assert told(workload(tolerations=[{"key": GPU, "value": "present"}]), node(1, "A", TAINT)) == ""
    assert told(workload(tolerations=[{"key": GPU, "value": "other"}]), node(1, "A", TAINT)) != ""
    assert told(workload(tolerations=[{**TOLERATION, "effect": "NoExecute"}]), node(1, "A", TAINT)) != ""
    assert told(workload(tolerations=[]), node(1, "A", {**TAINT, "effect": "PreferNoSchedule"})) == ""


def test_too_many_for_one_node_and_for_all() -> None:
    assert told(workload(8), node(4), node(4)) == (
        "each pod takes 8 nvidia.com/gpu, and the largest node that would do has 4"
    )
    [found] = shortages([workload(3, replicas=3)], [node(4), node(4)])
    assert (found.message, found.is_total) == (
        "3 pods take 3 nvidia.com/gpu each, and the nodes have room for 2",
        True,
    )


def test_labels_and_expressions_that_are_not_as_they_should_be() -> None:
    """A label that is no number does not match; what the API server refuses is left to it."""
    machine = node(1)
    machine["metadata"]["labels"]["n"] = "seven"
    for operator in ("Gt", "Lt"):
        assert f"has n {operator} 5" in told(workload(affinity=wanting(operator, "5", key="n")), machine)
        assert told(workload(affinity=wanting(operator, "many", key="n")), machine) == ""
        assert told(workload(affinity=wanting(operator, key="n")), machine) == ""
    for refused in ({"key": PRODUCT}, {"operator": "Near", "key": PRODUCT}, {"values": [5]}):
        affinity = wanting("In")
        affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] = [
            {"matchExpressions": [refused]}, {"matchExpressions": [{"key": "n", "operator": "In", "values": [5]}]},
        ]  # fmt: skip
        assert told(workload(affinity=affinity), machine) == ""
        assert told(workload(affinity=affinity, nodeSelector={"zone": "b"}), machine) != ""


def test_init_containers_run_before_the_others() -> None:
    """The most that either takes counts, and not their sum."""
    first = {"initContainers": [{"resources": {"limits": {GPU: 4}}}, {"name": "no resources"}]}
    assert told(workload(2, **first), node(4)) == ""
    assert "each pod takes 4 nvidia.com/gpu" in told(workload(2, **first), node(2))
    assert "each pod takes 8 nvidia.com/gpu" in told(workload(8, **first), node(4))


# The chart's engine Jobs -----------------------------------------------------------------------------------------


@cache
def charts() -> list[dict[str, Any]]:
    """Two pods with a GPU each that wait for a Job, as the chart renders them."""
    values = (CHART / "ci" / "engines-values.yaml").read_text(encoding="utf-8")
    return objects_of(Helm.found().template("demo", CHART, values))


def of_charts(*nodes: dict[str, Any]) -> dict[str, str]:
    return {found.owner.partition("/")[0]: found.message for found in shortages(charts(), nodes)}


def test_a_job_needs_the_gpu_of_its_init_container() -> None:
    none = {"each pod takes 1 nvidia.com/gpu, and none of the 2 nodes has any"}
    found = of_charts(node(), node())
    assert {kind.split()[0].lower() for kind in found} == {"deployment", "job"}
    assert set(found.values()) == none
    others = set(of_charts(node(4, "NVIDIA-L4", TAINT)).values())
    assert len(others) == 2
    assert f"no node with {GPU} has {PRODUCT}=NVIDIA-H200; those 1 are NVIDIA-L4" in others


@pytest.mark.parametrize(
    ("nodes", "enough"),
    [((2,), False), ((1, 1), False), ((3,), True), ((2, 1), True), ((1, 1, 1), True)],
)
def test_pods_that_wait_leave_a_gpu_for_the_job(nodes: tuple[int, ...], enough: bool) -> None:
    found = list(shortages(charts(), [node(count, "NVIDIA-H200", TAINT) for count in nodes]))
    assert (not found) is enough
    if not enough:
        [short] = found
        assert short.is_total
        assert "job" in short.owner.lower()
        assert short.message == (
            "2 pods take 1 nvidia.com/gpu each and keep it while they wait for this Job, which takes 1 more; the nodes "
            "that would do have 2"
        )


def test_a_node_that_the_pods_may_not_take_is_left_for_the_job() -> None:
    pods = {"key": "for", "value": "jobs", "effect": "NoSchedule"}
    mine = [item for item in charts() if item["kind"] != "Job"]
    [job] = [item for item in charts() if item["kind"] == "Job"]
    spec = job["spec"]["template"]["spec"]
    open_to_all = {**job, "spec": {"template": {"spec": {**spec, "tolerations": [{"operator": "Exists"}]}}}}
    nodes = [node(2, "NVIDIA-H200", TAINT), node(1, "NVIDIA-H200", TAINT, pods)]
    assert list(shortages([*mine, open_to_all], nodes)) == []
    assert len(list(shortages([*mine, job], nodes))) == 1
