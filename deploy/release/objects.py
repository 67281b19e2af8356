"""Objects of a release: read from manifests, told apart, and made fit to be shown."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import yaml

from generator.problems import UserError

Object = dict[str, Any]
_SERVERS_OWN = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
_CONTROLLERS_OWN = ("deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration")
_HELMS_OWN = ("meta.helm.sh/release-name", "meta.helm.sh/release-namespace")
HOOK = "helm.sh/hook"


class Key(NamedTuple):
    """What tells objects apart: the API group (its versions are one), kind, and name. All are of one namespace."""

    group: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """As the API reads YAML: what looks like a date is text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Dumper(yaml.SafeDumper):
    """Text of several lines as such."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)  # fmt: skip


def read_yaml(text: str) -> Any:
    """The data of a YAML document. Raises yaml.YAMLError."""
    return yaml.load(text, _Loader)  # noqa: S506  (a safe one)


def objects_of(manifest: str) -> list[Object]:
    """The objects of a manifest in its order, those of a List each by itself. Raises UserError when it is no YAML."""
    found: list[Object] = []
    try:
        for document in yaml.load_all(manifest, _Loader):
            if isinstance(document, Mapping) and document.get("kind"):
                found += document.get("items", []) if document["kind"] == "List" else [dict(document)]
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: of a scalar that is no such number
        why = " ".join(str(error).split())[:200]
        raise UserError(
            f"what `helm` printed is no YAML: {why}",
            "see which `helm` is on PATH, and whether it prints anything beside the manifests (`helm version`)",
        ) from error
    return found


def key_of(item: Mapping[str, Any]) -> Key:
    """What tells the object apart."""
    group = str(item.get("apiVersion", "")).rpartition("/")[0]
    return Key(group, str(item.get("kind", "")), str(item.get("metadata", {}).get("name", "")))


def by_key(objects: Iterable[Object]) -> dict[Key, Object]:
    """The objects by what tells them apart."""
    return {key_of(item): item for item in objects}


def is_hook(item: Mapping[str, Any]) -> bool:
    """Whether Helm sends it at a time of its own, and it is no part of the release."""
    return HOOK in (item.get("metadata", {}).get("annotations") or {})


def as_yaml(item: Any) -> str:
    """The object as text, keys sorted, so that two of them can be compared line by line."""
    return yaml.dump(item, Dumper=_Dumper, sort_keys=True, width=110, allow_unicode=True, default_flow_style=False)


def manifest_of(objects: Iterable[Object]) -> str:
    """One document an object, in the order of the API's own examples: apiVersion, kind, metadata, the rest."""
    return "".join(
        "---\n"
        + yaml.dump(_ordered(item), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True,
                    default_flow_style=False)
        for item in objects
    )  # fmt: skip


def _ordered(item: Object) -> Object:
    first = [name for name in ("apiVersion", "kind", "metadata") if name in item]
    return {name: item[name] for name in (*first, *(name for name in item if name not in first))}


def told(item: Object) -> Object:
    """The object without what the server and controllers write into it, and without what nobody should see."""
    metadata = {name: value for name, value in item.get("metadata", {}).items() if name not in _SERVERS_OWN}
    annotations = {
        name: value
        for name, value in (metadata.get("annotations") or {}).items()
        if name not in (*_CONTROLLERS_OWN, *_HELMS_OWN)
    }
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    shown = {name: value for name, value in item.items() if name != "status"} | {"metadata": metadata}
    if item.get("kind") == "Secret":
        return _hidden(shown)
    if isinstance(binary := shown.get("binaryData"), Mapping):
        shown["binaryData"] = {name: _measured(str(value)) for name, value in binary.items()}
    return shown


def _hidden(secret: Object) -> Object:
    """The Secret with the names of its values alone."""
    shown = dict(secret)
    for name in ("data", "stringData"):
        if isinstance(shown.get(name), Mapping):
            shown[name] = dict.fromkeys(shown[name], "(hidden)")
    return shown


def _measured(value: str) -> str:
    """What is known of a file in base64: enough to see whether it is another one."""
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return "(not base64)"
    return f"({len(data):,} bytes, SHA-256 {hashlib.sha256(data).hexdigest()[:12]})"
