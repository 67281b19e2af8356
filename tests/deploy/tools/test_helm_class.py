"""Helm's command lines, and its answers as data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from stand_ins import seen, stand_in

from deploy.tools.helm import Helm, HelmError, HelmUnreachableError, Revision, complaint
from deploy.tools.process import find
from generator.problems import UserError

VALUES = '{"key": "kept-to-ourselves"}'


CLUSTER = ["--kubeconfig", "/k", "--kube-context", "test", "--namespace", "ml"]


def bound(program: Path) -> Helm:
    return Helm(program, Path("/k"), "test", "ml")


def test_an_upgrade_names_its_cluster_and_gives_values_by_standard_input(tmp_path: Path) -> None:
    bound(stand_in(tmp_path)).upgrade(
        "digits", Path("/chart"), VALUES, description="said", mark="m1", create_namespace=True
    )
    words, text = seen(tmp_path)
    assert words == [
        "upgrade", "digits", "/chart", "--install", "--reset-values", "--values", "-", "--history-max", "10",
        "--description", "said", "--labels", "tritonkit-apply=m1", "--create-namespace", *CLUSTER,
    ]  # fmt: skip
    assert text == VALUES
    assert "kept-to-ourselves" not in " ".join(words)


def test_a_dry_run_asks_the_server_and_gives_manifest_and_warnings(tmp_path: Path) -> None:
    told = json.dumps({"manifest": "kind: A\n", "info": {"notes": "It serves.\n\nWARNING: too little\n"}})
    rendered = bound(stand_in(tmp_path, out=told)).dry_run("digits", Path("/chart"), VALUES)
    assert (rendered.manifest, rendered.warnings) == ("kind: A\n", ["too little"])
    assert seen(tmp_path)[0][7:] == ["--dry-run=server", "--output", "json", *CLUSTER]


def test_rollback_uninstall_manifest_and_values(tmp_path: Path) -> None:
    helm = bound(stand_in(tmp_path, out='{"a": 1}'))
    helm.rollback("digits", 3)
    assert seen(tmp_path)[0] == ["rollback", "digits", "3", "--history-max", "10", *CLUSTER]
    helm.uninstall("digits")
    assert seen(tmp_path)[0] == ["uninstall", "digits", *CLUSTER]
    helm.manifest("digits", 2)
    assert seen(tmp_path)[0] == ["get", "manifest", "digits", "--revision", "2", *CLUSTER]
    assert helm.values("digits") == {"a": 1}


def test_whose_revision_the_newest_is(tmp_path: Path) -> None:
    helm = bound(stand_in(tmp_path, out='[{"name": "a.b", "revision": "7"}]'))
    assert helm.marked("a.b", "m1") == 7
    assert seen(tmp_path)[0] == [
        "list", "--all", "--filter", r"^a\.b$", "--selector", "tritonkit-apply=m1", "--output", "json", *CLUSTER,
    ]  # fmt: skip
    assert bound(stand_in(tmp_path, out="[]")).marked("a.b", "m1") is None


def test_a_template_asks_no_cluster(tmp_path: Path) -> None:
    bound(stand_in(tmp_path)).template("digits", Path("/chart"), VALUES)
    words, text = seen(tmp_path)
    assert words[:2] == ["template", "digits"]
    assert "--kubeconfig" not in words
    assert words[-2:] == ["--namespace", "ml"]
    assert text == VALUES


def test_history(tmp_path: Path) -> None:
    entry = {
        "revision": 2,
        "status": "failed",
        "updated": "now",
        "chart": "triton-1",
        "app_version": "",
        "description": "d",
    }
    assert bound(stand_in(tmp_path, out=json.dumps([entry]))).history("digits") == [
        Revision(2, "failed", "now", "triton-1", "d")
    ]
    assert bound(stand_in(tmp_path, err="Error: release: not found\n", status=1)).history("digits") == []
    with pytest.raises(HelmError, match="secrets is forbidden"):
        bound(stand_in(tmp_path, err="Error: query: failed: secrets is forbidden\n", status=1)).history("digits")


def test_what_helm_complains_of() -> None:
    assert complaint("Error: UPGRADE FAILED: it broke\n") == "UPGRADE FAILED: it broke"
    debug = "Error: execution error at (triton/x.yaml:1:4): it is refused\n\nUse --debug flag to render out invalid YAML\n"
    assert complaint(debug) == "it is refused"
    chart = "Error: execution error at (triton/templates/a.yaml:3:4): release 25.03 is refused:\n  CVE-1\n"
    assert complaint(chart) == "release 25.03 is refused: CVE-1"
    schema = (
        "WARNING: something\nError: values don't meet the specifications of the schema(s) in the following chart(s):\n"
        "triton:\n- workload.replicas: Invalid type. Expected: integer, given: string\n- (root): Additional property x is not allowed\n\n"
    )
    assert complaint(schema) == (
        "the chart refuses these values: workload.replicas: Invalid type. Expected: integer, given: string; "
        "(root): Additional property x is not allowed"
    )
    assert complaint("") == ""


def test_a_silent_failure_has_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(HelmError, match="exit status 7 and said nothing"):
        bound(stand_in(tmp_path, status=7)).uninstall("digits")


def test_an_old_helm_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("deploy.tools.helm.beside", lambda _name: None)
    stand_in(tmp_path, out="v3.9.4+gdbc6d8e\n")
    with pytest.raises(UserError, match=r"is Helm 3\.9, which cannot ask a cluster .* 3\.13 and later can"):
        Helm.found()
    stand_in(tmp_path, out="v4.0.1\n")
    with pytest.raises(UserError, match=r"is Helm 4\.0, with which nobody has tried this; it takes Helm 3, 3\.13 or"):
        Helm.found()
    stand_in(tmp_path, err="exec format error", status=126)
    with pytest.raises(UserError, match="does not say its version: exec format error"):
        Helm.found()


def test_one_beside_this_python_takes_the_place_of_an_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "path").mkdir()
    (tmp_path / "venv").mkdir()
    (tmp_path / "newer").mkdir()
    old, new = stand_in(tmp_path / "path", out="v3.9.4\n"), stand_in(tmp_path / "venv", out="v3.17.3\n")
    newer = stand_in(tmp_path / "newer", out="v3.13.0\n")
    monkeypatch.setattr("sys.executable", str(tmp_path / "venv" / "python"))
    monkeypatch.setenv("PATH", str(old.parent))
    assert Helm.found().binary == new
    monkeypatch.setenv("PATH", str(newer.parent))
    assert Helm.found().binary == newer


def test_what_the_chart_would_say_to_people(tmp_path: Path) -> None:
    """The real one: `helm template` gives no notes."""
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: little\nversion: 0.1.0\n")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "_a.tpl").write_text('{{ define "warned" }}a: "{{ .Values.a }}"\nb{{ end }}')
    assert Helm.found().included("digits", tmp_path, '{"a": "x"}', "warned") == 'a: "x"\nb'
    assert sorted(path.name for path in (tmp_path / "templates").iterdir()) == ["_a.tpl"]


def test_manifests_are_for_the_kubernetes_that_is_named(tmp_path: Path) -> None:
    helm = replace(bound(stand_in(tmp_path)), kube_version="1.29")
    helm.template("digits", Path("/chart"), VALUES)
    words = seen(tmp_path)[0]
    assert words[words.index("--kube-version") + 1] == "1.29"


def test_the_installed_helm_is_new_enough_and_takes_the_words(tmp_path: Path) -> None:
    """The real one: every option that is used is known to it."""
    helm = Helm.found(namespace="ml")
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: little\nversion: 0.1.0\nkubeVersion: '>=1.29.0-0'\n")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "a.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: {{ .Release.Namespace }}}\ndata: {a: {{ .Values.a | quote }}}\n"
    )
    text = helm.template("digits", tmp_path, '{"a": "b: c"}')
    assert "namespace: ml" in text
    assert 'data: {a: "b: c"}' in text


def test_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text(
        json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": ""}}],
        })
    )  # fmt: skip
    with pytest.raises(HelmUnreachableError, match=r"connection refused|unreachable"):
        Helm(find("helm", ""), nowhere, "c", "ml").history("digits")
