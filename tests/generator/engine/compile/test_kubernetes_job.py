"""The Job that builds a plan on a cluster: what Kubernetes asks of its fields, and of a restricted namespace."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from generator.engine.compile import trtexec
from generator.engine.compile.base import Settings, ShapeRange
from generator.engine.compile.kubernetes_job import KubernetesJob
from generator.engine.errors import StageError

X = ShapeRange((1, 3, 8, 8), (8, 3, 8, 8), (32, 3, 8, 8))
SETTINGS = Settings("fp16", [{"x": X}], workspace_mib=1024)
JOB = KubernetesJob("digits-engine", "registry.example/tritonserver:26.07-py3", 11, "models", folder="digits/1")

# Of each object of a Job that we write: the fields that Kubernetes 1.30 knows there, with their types.
FIELDS: dict[str, dict[str, Any]] = {
    "job": {"apiVersion": str, "kind": str, "metadata": "metadata", "spec": "spec"},
    "metadata": {"name": str, "labels": dict},
    "spec": {"backoffLimit": int, "activeDeadlineSeconds": int, "ttlSecondsAfterFinished": int, "template": "template"},
    "template": {"metadata": "metadata", "spec": "pod"},
    "pod": {
        "restartPolicy": str, "automountServiceAccountToken": bool, "securityContext": "pod security",
        "containers": ["container"], "volumes": ["volume"], "nodeSelector": dict,
    },
    "pod security": {"runAsNonRoot": bool, "runAsUser": int, "runAsGroup": int, "fsGroup": int, "seccompProfile": dict},
    "container": {
        "name": str, "image": str, "command": [str], "securityContext": "security", "resources": "resources",
        "volumeMounts": ["mount"],
    },
    "security": {"allowPrivilegeEscalation": bool, "readOnlyRootFilesystem": bool, "capabilities": dict},
    "resources": {"requests": dict, "limits": dict},
    "mount": {"name": str, "mountPath": str, "subPath": str},
    "volume": {"name": str, "persistentVolumeClaim": dict, "emptyDir": dict},
}  # fmt: skip


def check(value: Any, kind: Any, path: str) -> None:
    if isinstance(kind, list):
        assert isinstance(value, list), path
        for index, item in enumerate(value):
            check(item, kind[0], f"{path}[{index}]")
    elif isinstance(kind, str):
        assert not value.keys() - FIELDS[kind].keys(), f"{path}: unknown fields"
        for name, item in value.items():
            check(item, FIELDS[kind][name], f"{path}.{name}")
    else:
        assert type(value) is kind, f"{path}: {value!r}"


@pytest.mark.parametrize("job", [JOB, KubernetesJob("a", "i", 8, "c", node_selector={"gpu": "h200"})])
def test_the_yaml_holds_nothing_but_known_fields(job: KubernetesJob) -> None:
    check(yaml.safe_load(job.text(SETTINGS)), "job", "job")


def test_it_may_run_in_a_restricted_namespace() -> None:
    pod = yaml.safe_load(JOB.text(SETTINGS))["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {next(iter(volume.keys() - {"name"})) for volume in pod["volumes"]} <= {
        "persistentVolumeClaim",
        "emptyDir",
    }


def test_it_asks_for_a_gpu_ends_and_is_cleared_away() -> None:
    spec = yaml.safe_load(JOB.text(SETTINGS))["spec"]
    [container] = spec["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["backoffLimit"] == 1
    assert spec["ttlSecondsAfterFinished"] > 0
    assert spec["activeDeadlineSeconds"] > 0


def test_it_runs_the_command_that_is_shown_elsewhere_where_the_files_are() -> None:
    pod = yaml.safe_load(JOB.text(SETTINGS))["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["command"] == ["/usr/src/tensorrt/bin/trtexec", *trtexec.arguments(SETTINGS, 11, "/work")]
    assert container["volumeMounts"][0] == {"name": "work", "mountPath": "/work", "subPath": "digits/1"}
    names = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == names
    assert container["image"] == "registry.example/tritonserver:26.07-py3"


def test_numbers_in_words_stay_words() -> None:
    text = KubernetesJob("a", "i", 11, "c", node_selector={"nvidia.com/gpu.compute.major": "9"}).text(SETTINGS)
    pod = yaml.safe_load(text)["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.compute.major": "9"}
    assert pod["containers"][0]["resources"]["requests"]["cpu"] == "4"
    assert re.search(r"cpu: '4'", text)


def test_what_that_trtexec_cannot_do_is_said_instead() -> None:
    with pytest.raises(StageError, match="TK959"):
        KubernetesJob("a", "i", 8, "c").text(Settings("bf16", [{"x": X}]))


def test_as_a_compiler_it_says_what_to_do() -> None:
    with pytest.raises(StageError, match="TK959") as raised:
        JOB.compile(b"", SETTINGS, lambda _text: None)
    assert "kubectl apply" in raised.value.findings[0].hint
    assert JOB.missing()
    assert JOB.name == "tensorrt"
