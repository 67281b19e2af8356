"""Which clusters are on this machine, and which names there can be."""

from __future__ import annotations

import pytest

from deploy.release.cluster import check_namespace, check_release, is_local, release_name
from deploy.release.overrides import CHART
from deploy.tools.helm import Helm, HelmError
from deploy.tools.kubectl import Context
from generator.problems import UserError


@pytest.mark.parametrize(
    ("name", "server", "local"),
    [
        ("any", "https://127.0.0.1:6443", True), ("any", "https://[::1]:6443", True),
        ("any", "https://localhost:6443", True), ("docker-desktop", "https://kubernetes.docker.internal:6443", True),
        ("minikube", "https://192.168.49.2:8443", False), ("kind-one", "https://172.18.0.2:6443", False),
        ("kind-one", "https://127.0.0.1:36443", True), ("any", "https://[::1", False), ("any", "https://[x]", False),
        ("minikube", "https://34.90.1.2", False), ("any", "https://10.0.0.5:6443", False),
        ("production", "https://api.example.com", False), ("kind", "https://192.168.1.4:6443", False),
        ("any", "", False), ("any", "127.0.0.1", False), ("any", "https://127.0.0.1.example.com", False),
    ],
)  # fmt: skip
def test_where_a_cluster_is(name: str, server: str, local: bool) -> None:
    """The address is on loopback, or the cluster is elsewhere: a name proves nothing, and neither does a network."""
    assert is_local(Context(name, server)) is local


def test_a_proxy_leads_elsewhere() -> None:
    assert not is_local(Context("any", "https://127.0.0.1:6443", proxied=True))


@pytest.mark.parametrize("name", ["digits", "a", "a-1", "x" * 41, "triton-" + "x" * 41])
def test_names_of_releases(name: str) -> None:
    check_release(name)


@pytest.mark.parametrize(
    "name", ["", "Digits", "a_b", "-a", "a-", "a.b", "x" * 42, "triton-" + "x" * 42, "a b", "--help", "ml\n"]
)
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name of a release") as caught:
        check_release(name)
    assert "--release" in caught.value.hint


def test_namespaces() -> None:
    check_namespace("x" * 63)
    with pytest.raises(UserError, match="cannot be the name of a namespace: it may have at most 63"):
        check_namespace("x" * 64)


@pytest.mark.parametrize(
    ("pipeline", "name"),
    [
        ("digits", "digits"),
        ("My_Model.v2", "my-model-v2"),
        ("__", "tritonkit"),
        ("x" * 39 + "_y", "x" * 39 + "-y"),
    ],
)
def test_a_pipelines_name_as_a_release(pipeline: str, name: str) -> None:
    assert release_name(pipeline) == name
    check_release(release_name(pipeline))


def test_a_pipelines_name_that_is_too_long_is_refused_and_not_cut() -> None:
    """Two that are cut to the same name would be one release."""
    with pytest.raises(
        UserError, match=r"at most 41 characters \(its objects are called NAME-triton, and may have 48\)"
    ):
        check_release(release_name("a" * 60 + "_one"))


def refused_by_the_chart(name: str) -> str:
    try:
        Helm.found().template(name, CHART, "{}")
    except HelmError as error:
        return error.message
    return ""


@pytest.mark.parametrize("before", ["", "triton-"])
def test_the_bound_is_the_charts(before: str) -> None:
    """What can be looked at, rolled back and deleted is what can be installed."""
    name = before + "x" * 41
    check_release(name)
    assert refused_by_the_chart(name) == ""
    with pytest.raises(UserError, match="cannot be the name of a release"):
        check_release(f"{name}x")
    assert "of 49 characters, and 48 are the most" in refused_by_the_chart(f"{name}x")
