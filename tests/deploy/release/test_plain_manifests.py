"""Manifests for people without Helm."""

from __future__ import annotations

import copy
import os
import subprocess
from pathlib import Path
from typing import Any

from deploy.release.plain import Key, plain, without_secrets

LABELS = {"helm.sh/chart": "triton-0.1.0", "app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/name": "triton"}


def item(kind: str = "Deployment", **annotations: str) -> dict[str, Any]:
    template = {"metadata": {"labels": dict(LABELS), "annotations": {"helm.sh/x": "1"}}, "spec": {"containers": []}}
    metadata = {"name": "digits", "labels": dict(LABELS), "annotations": annotations}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": {"template": template}}


def test_labels_of_helm_go_and_the_rest_stays() -> None:
    before = item(kept="yes")
    kept = copy.deepcopy(before)
    [after] = plain([before], "ml")
    labels = {"app.kubernetes.io/managed-by": "tritonkit", "app.kubernetes.io/name": "triton"}
    assert after["metadata"] == {
        "name": "digits",
        "namespace": "ml",
        "labels": labels,
        "annotations": {"kept": "yes"},
    }
    assert after["spec"]["template"] == {"metadata": {"labels": labels}, "spec": {"containers": []}}
    assert before == kept


def test_hooks_are_left_out_and_what_is_the_clusters_has_no_namespace() -> None:
    assert plain([item(**{"helm.sh/hook": "test"})], "ml") == []
    assert "namespace" not in plain([item("ClusterRole")], "ml")[0]["metadata"]


def test_secrets_are_commands_instead() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "digits-restricted"}, "data": {"key": "aHVzaA=="}}
    shown, [key] = without_secrets([item(), secret], "ml")
    assert [one["kind"] for one in shown] == ["Deployment"]
    assert key.command() == (
        "head -c 24 /dev/urandom | base64 | tr -d '\\n' | kubectl create secret generic digits-restricted --namespace ml "
        "--from-file=key=/dev/stdin"
    )
    assert "aHVzaA" not in key.command()


def test_standard_input_is_read_once_for_several_keys(tmp_path: Path) -> None:
    """The command is run, with a kubectl that shows what it reads."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text('#!/bin/sh\nfor word; do last="$word"; done\ncat "${last#--from-env-file=}"\n')
    kubectl.chmod(0o755)
    command = Key("digits", "ml", ("one", "two")).command()
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(["sh", "-c", command], env={"PATH": path}, capture_output=True, text=True, check=True)
    read = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert set(read) == {"one", "two"}
    assert len(set(read.values())) == 2
    assert all(len(value) == 32 for value in read.values())
