"""A Kubernetes Job that builds a plan on a cluster's GPU, from an ONNX file on a volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from generator.engine.compile import trtexec
from generator.engine.compile.base import Compiled, Progress, Settings
from generator.engine.errors import Finding, StageError

_FOLDER = "/work"


@dataclass(frozen=True)
class KubernetesJob:
    """The Job `job` runs trtexec of `image`, whose TensorRT is `major`, in `folder` of the volume claim `claim`.

    That folder holds model.onnx (and calibration.cache on 8.6, timing.cache if there is one); model.plan appears
    there. As a Compiler it only says what to do: the cluster builds, not this machine.
    """

    job: str
    image: str
    major: int
    claim: str
    folder: str = ""
    program: str = "/usr/src/tensorrt/bin/trtexec"
    memory: str = "16Gi"
    cpus: str = "4"
    node_selector: Mapping[str, str] = field(default_factory=dict)
    limit_s: int = 7200
    keep_s: int = 86400
    name = "tensorrt"

    def missing(self) -> str:
        """One sentence, always: a cluster has to build."""
        return f"the Kubernetes Job {self.job} builds the plan on a cluster, not here"

    def compile(self, graph: bytes, settings: Settings, progress: Progress) -> Compiled:  # noqa: ARG002
        """Raises StageError (TK959): what to do instead."""
        hint = (
            f"put model.onnx on the claim {self.claim}, `kubectl apply` the Job, fetch model.plan when it is done; "
            "`tritonkit build --from model.plan` judges and installs it"
        )
        raise StageError(Finding("TK959", self.missing(), hint, "engine"))

    def manifest(self, settings: Settings) -> dict[str, Any]:
        """The Job as Kubernetes' fields. Raises StageError (TK959) for what that trtexec cannot do."""
        labels = {"app.kubernetes.io/name": "tritonkit", "app.kubernetes.io/component": "engine-build"}
        pod: dict[str, Any] = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [self._container(settings)],
            "volumes": [
                {"name": "work", "persistentVolumeClaim": {"claimName": self.claim}},
                {"name": "scratch", "emptyDir": {}},
            ],
        }  # fmt: skip
        if self.node_selector:
            pod["nodeSelector"] = dict(self.node_selector)
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": self.job, "labels": dict(labels)},
            "spec": {
                "backoffLimit": 1,
                "activeDeadlineSeconds": self.limit_s,
                "ttlSecondsAfterFinished": self.keep_s,
                "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
            },
        }

    def _container(self, settings: Settings) -> dict[str, Any]:
        mount: dict[str, Any] = {"name": "work", "mountPath": _FOLDER}
        if self.folder:
            mount["subPath"] = self.folder
        return {
            "name": "trtexec",
            "image": self.image,
            "command": [self.program, *trtexec.arguments(settings, self.major, _FOLDER)],
            "securityContext": {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            },
            "resources": {
                "requests": {"cpu": self.cpus, "memory": self.memory},
                "limits": {"memory": self.memory, "nvidia.com/gpu": 1},
            },
            "volumeMounts": [mount, {"name": "scratch", "mountPath": "/tmp"}],  # noqa: S108 — the container's own
        }  # fmt: skip

    def text(self, settings: Settings) -> str:
        """The Job as YAML. Raises StageError (TK959)."""
        import yaml

        text: str = yaml.safe_dump(self.manifest(settings), sort_keys=False, default_flow_style=False, width=1000)
        return text
