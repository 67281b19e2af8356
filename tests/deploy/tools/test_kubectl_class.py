"""kubectl's command lines, and the cluster's answers as data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stand_ins import seen, stand_in

from deploy.tools.kubectl import (
    Context,
    ForbiddenError,
    Kubectl,
    KubectlError,
    NoContextError,
    UnreachableError,
    complaint,
    documents,
)

MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
CLUSTER = ["--kubeconfig", "/k", "--context", "test", "--namespace", "ml"]


def bound(program: Path) -> Kubectl:
    return Kubectl(program, Path("/k"), "test", "ml")


def test_objects_go_in_by_standard_input(tmp_path: Path) -> None:
    secret = {**MAP, "kind": "Secret", "data": {"key": "a2V5"}}
    made = bound(stand_in(tmp_path, out=json.dumps(secret))).create([secret], dry_run=True)
    words, text = seen(tmp_path)
    assert made == [secret]
    assert words == [
        "create", "--validate=strict", "--dry-run=server", "--filename", "-", "--output", "json",
        "--request-timeout=15s", *CLUSTER,
    ]  # fmt: skip
    assert json.loads(text) == {"apiVersion": "v1", "kind": "List", "items": [secret]}
    assert "a2V5" not in " ".join(words)


def test_nothing_to_send_runs_nothing() -> None:
    kubectl = bound(Path("/nowhere"))
    assert (kubectl.create([]), kubectl.replace([]), kubectl.live([])) == ([], [], [])


def test_annotating(tmp_path: Path) -> None:
    Kubectl(stand_in(tmp_path), None, "test", "ml").annotate("deployment", "digits", {"a/b": "1,2"})
    assert seen(tmp_path)[0] == [
        "annotate", "deployment", "digits", "a/b=1,2", "--overwrite", "--request-timeout=15s", "--context", "test",
        "--namespace", "ml",
    ]  # fmt: skip


def test_selecting(tmp_path: Path) -> None:
    kubectl = bound(stand_in(tmp_path, out=json.dumps({"kind": "List", "items": [MAP]})))
    assert kubectl.get(["pods", "jobs"], "--selector=a=b") == [MAP]
    assert seen(tmp_path)[0][:4] == ["get", "pods,jobs", "--selector=a=b", "--ignore-not-found"]
    kubectl.get(["nodes"], namespaced=False)
    assert "--namespace" not in seen(tmp_path)[0]


def test_several_documents() -> None:
    text = json.dumps(MAP) + "\n" + json.dumps({"kind": "ConfigMapList", "items": [MAP, MAP]}) + "\n\n"
    assert list(documents(text)) == [MAP, MAP, MAP]
    assert list(documents("\n")) == []


def test_the_context(tmp_path: Path) -> None:
    told = {
        "current-context": "far", "clusters": [{"cluster": {"server": "https://far:6443", "proxy-url": "http://p"}}],
        "contexts": [{"context": {"cluster": "far", "namespace": "ml"}}],
    }  # fmt: skip
    assert bound(stand_in(tmp_path, out=json.dumps(told))).current() == Context("far", "https://far:6443", "ml", True)
    told["contexts"] = [{"context": {}}]
    assert bound(stand_in(tmp_path, out=json.dumps(told))).current().namespace == "default"
    with pytest.raises(NoContextError, match="names no cluster"):
        bound(stand_in(tmp_path, out=json.dumps({"clusters": None, "contexts": None}))).current()


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        (
            "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?",
            UnreachableError,
        ),
        ("Unable to connect to the server: dial tcp: lookup far: no such host", UnreachableError),
        (
            "Unable to connect to the server: tls: failed to verify certificate: x509: unknown authority",
            UnreachableError,
        ),
        ("error: You must be logged in to the server (Unauthorized)", ForbiddenError),
        ('Error from server (Forbidden): nodes is forbidden: User "u" cannot list resource "nodes"', ForbiddenError),
        ('error: context "far" does not exist', NoContextError),
        ('Error from server (Invalid): Service "a" is invalid: spec.ports: Required value', KubectlError),
    ],
)
def test_what_went_wrong_has_a_type(tmp_path: Path, stderr: str, kind: type[KubectlError]) -> None:
    with pytest.raises(KubectlError) as caught:
        bound(stand_in(tmp_path, err=stderr, status=1)).get(["pods"])
    assert type(caught.value) is kind


def test_a_missing_path_is_none_and_a_refused_one_is_not(tmp_path: Path) -> None:
    gone = "Error from server (NotFound): the server could not find the requested resource"
    assert bound(stand_in(tmp_path, err=gone, status=1)).raw("/apis/keda.sh/v1alpha1") is None
    with pytest.raises(ForbiddenError):
        bound(stand_in(tmp_path, err="Error from server (Forbidden): no", status=1)).raw("/version")
    assert bound(stand_in(tmp_path, out='{"major": "1"}')).raw("/version") == {"major": "1"}
    assert bound(stand_in(tmp_path, out="ok")).raw("/readyz") == "ok"


def test_complaints_lose_what_stands_before_them() -> None:
    stderr = (
        "E1122 09:12:14.1 memcache.go:265] couldn't get current server API group list\n"
        "Warning: deprecated\n"
        'Error from server (Invalid): error when creating "STDIN": Deployment.apps "a" is invalid: spec.replicas: bad\n'
        'Error from server (Invalid): error when creating "STDIN": Deployment.apps "a" is invalid: spec.replicas: bad\n'
        "error: one more\n"
    )
    assert complaint(stderr) == 'Deployment.apps "a" is invalid: spec.replicas: bad; one more'


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoContextError, match=f"there is no kubeconfig {tmp_path}/gone") as caught:
        Kubectl(stand_in(tmp_path, err="error: no context", status=1), tmp_path / "gone").current()
    assert "--kubeconfig" in caught.value.hint


def test_what_is_wrong_with_a_kubeconfig_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/of/mine")
    broken = Kubectl(stand_in(tmp_path, err="error: current-context must exist in order to minify", status=1))
    with pytest.raises(NoContextError, match="the kubeconfig of KUBECONFIG=/of/mine: current-context must exist"):
        broken.current()
    monkeypatch.delenv("KUBECONFIG")
    with pytest.raises(NoContextError, match=r"the kubeconfig ~/\.kube/config: current-context must") as caught:
        broken.current()
    assert "--kubeconfig" in caught.value.hint


@pytest.mark.parametrize("cluster", [{"server": ""}, {}, None])
def test_a_cluster_without_a_server(tmp_path: Path, cluster: dict[str, str] | None) -> None:
    told = {"current-context": "c", "clusters": [{"cluster": cluster}], "contexts": [{"context": {"cluster": "k"}}]}
    with pytest.raises(NoContextError, match="the cluster of context `c` has no server") as caught:
        Kubectl(stand_in(tmp_path, out=json.dumps(told))).current()
    assert "clusters[].cluster.server" in caught.value.hint
