"""The chart under the tools that check charts: no cluster is asked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from chart_calls import CI_VALUES, KUBERNETES, ci, rendered
from cluster_calls import CHART, CallError, call
from control_plane import HELM

from scripts.cluster_tools.folder import Folder


def ids(path: Path) -> str:
    return path.name.removesuffix("-values.yaml")


def kubeconform(tools: Folder, manifests: str) -> str:
    options = ("-strict", "-summary", "-kubernetes-version", KUBERNETES, "-schema-location", tools.schemas)
    return call(tools.programs / "kubeconform", *options, stdin=manifests)


@pytest.mark.parametrize("values", CI_VALUES, ids=ids)
def test_every_object_is_as_its_schema_says(cluster_tools: Folder, values: Path) -> None:
    said = kubeconform(cluster_tools, rendered(values))
    assert "Invalid: 0, Errors: 0, Skipped: 0" in said


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("podMetricsEndpoints:", "podMetricsEndpoint:"),  # a custom resource
        ("maxSurge:", "maxSurges:"),  # a kind of Kubernetes
        ("kind: PodMonitor", "kind: PodsMonitor"),  # nobody's
    ],
)
def test_a_typing_mistake_is_found(cluster_tools: Folder, right: str, wrong: str) -> None:
    manifests = rendered(ci("everything"))
    assert right in manifests
    with pytest.raises(CallError, match=r"Invalid: 1|Errors: 1"):
        kubeconform(cluster_tools, manifests.replace(right, wrong, 1))


@pytest.mark.parametrize("values", CI_VALUES, ids=ids)
def test_helm_has_nothing_to_say_against_the_chart(values: Path) -> None:
    call(HELM, "lint", "--strict", CHART, "--values", values)


def test_the_suites_beside_the_chart(cluster_tools: Folder, tmp_path: Path) -> None:
    chart = tmp_path / "triton"  # a copy: snapshots that are missing would be written
    shutil.copytree(CHART, chart)
    suites = len(list((chart / "tests").rglob("*_test.yaml")))
    said = call(cluster_tools.programs / "helm-unittest", "--strict", chart)
    assert suites > 0
    assert f"Test Suites: {suites} passed, {suites} total" in said
