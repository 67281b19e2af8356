"""A release as plain manifests, for clusters without Helm: the chart's objects, without what only Helm reads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deploy.release.objects import HOOK, Object

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "tritonkit"
_OF_CLUSTERS = frozenset(
    {"ClusterRole", "ClusterRoleBinding", "Namespace", "CustomResourceDefinition", "PriorityClass"}
)


@dataclass(frozen=True)
class Key:
    """A Secret that the pods need, whose value is nobody's to print: its name and the names of its values."""

    secret: str
    namespace: str
    names: tuple[str, ...]

    def command(self) -> str:
        """What makes it: each key comes out of the kernel, and goes in by standard input, which is read once."""
        value = "head -c 24 /dev/urandom | base64"
        create = f"kubectl create secret generic {self.secret} --namespace {self.namespace}"
        if len(self.names) == 1:
            return f"{value} | tr -d '\\n' | {create} --from-file={self.names[0]}=/dev/stdin"
        lines = f'for name in {" ".join(self.names)}; do echo "$name=$({value})"; done'
        return f"{lines} | {create} --from-env-file=/dev/stdin"


def without_secrets(objects: Sequence[Object], namespace: str) -> tuple[list[Object], list[Key]]:
    """The objects that may be printed, and the Secrets that have to be made beside them.

    A chart that is rendered without its cluster makes up a new key each time; the pods find theirs by the Secret's
    name.
    """
    shown = [item for item in objects if item["kind"] != "Secret"]
    keys = [
        Key(
            item["metadata"]["name"], namespace, tuple({**(item.get("data") or {}), **(item.get("stringData") or {})})
        )
        for item in objects
        if item["kind"] == "Secret"
    ]
    return shown, keys


def plain(objects: Sequence[Object], namespace: str) -> list[Object]:
    """The objects in their namespace, without labels and annotations of Helm; hooks are left out."""
    return [_plain(item, namespace) for item in objects if HOOK not in (item["metadata"].get("annotations") or {})]


def _plain(item: Object, namespace: str) -> Object:
    result = copy.deepcopy(item)
    metadata = result["metadata"]
    if result["kind"] not in _OF_CLUSTERS:
        metadata["namespace"] = namespace
    _cleaned(metadata)
    template = result.get("spec", {}).get("template") if isinstance(result.get("spec"), dict) else None
    if isinstance(template, dict) and isinstance(template.get("metadata"), dict):
        _cleaned(template["metadata"])
    return result


def _cleaned(metadata: dict[str, Any]) -> None:
    for name in ("labels", "annotations"):
        kept = {
            key: value for key, value in (metadata.pop(name, None) or {}).items() if not key.startswith("helm.sh/")
        }
        if MANAGED_BY in kept:
            kept[MANAGED_BY] = MANAGER
        if kept:
            metadata[name] = kept
