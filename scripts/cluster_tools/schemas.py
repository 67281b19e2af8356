"""JSON schemas of every kind, by which kubeconform checks a chart without a network.

Those of Kubernetes come with the package kubernetes-validate, those of custom resources from their definitions.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import yaml

from scripts.cluster_tools.folder import ToolsError

VERSION = "1.36.0"  # of Kubernetes; there is one set of schemas a minor version
PACKAGE = "kubernetes-validate"
DEFINITIONS = "_definitions.json"
OBJECT_META = f"{DEFINITIONS}#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


class Loader(yaml.SafeLoader):
    """A loader that knows a bare `=`, a type of its own in YAML 1.1: definitions have it among an enum's values."""


def _text(loader: Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


Loader.add_constructor("tag:yaml.org,2002:value", _text)


def stamp() -> str:
    """What the schemas are made of, beside the definitions."""
    try:
        return f"{PACKAGE} {importlib.metadata.version(PACKAGE)}, Kubernetes {VERSION}"
    except importlib.metadata.PackageNotFoundError:
        raise ToolsError(
            f"the package {PACKAGE}, which has the schemas of Kubernetes, is missing: `make test-cluster` installs it"
        ) from None


def write_schemas(crds: Path, out: Path) -> None:
    """Writes the folder that `kubeconform -strict -kubernetes-version 1.36.0 -schema-location OUT` reads."""
    folder = out / f"v{VERSION}-standalone-strict"
    folder.mkdir(parents=True)
    write_builtin_kinds(folder)
    for path in sorted(crds.glob("*.yaml")):
        for definition in yaml.load_all(path.read_text(encoding="utf-8"), Loader):
            write_custom_kind(definition["spec"], folder)


def write_builtin_kinds(folder: Path) -> None:
    """The package's schemas, with references that are found beside them instead of at an address."""
    package = importlib.metadata.distribution(PACKAGE).locate_file("kubernetes_validate")
    source = Path(str(package)) / "kubernetes-json-schema" / f"v{VERSION}-local-strict"
    files = sorted(source.glob("*.json"))
    if not files:
        raise ToolsError(f"{PACKAGE} has no schemas of Kubernetes {VERSION} in {source}")
    for file in files:
        schema = json.loads(file.read_text(encoding="utf-8"))
        schema.pop("$id", None)  # an absolute address, which references would be looked up from
        text = json.dumps(schema).replace(f'"/api/{DEFINITIONS}#', f'"{DEFINITIONS}#')
        (folder / file.name).write_text(text, encoding="utf-8")


def write_custom_kind(spec: dict[str, Any], folder: Path) -> None:
    """A schema for each version of a kind, under kubeconform's name: kind, first label of its group, version."""
    kind, group = spec["names"]["kind"], spec["group"]
    for version in spec["versions"]:
        schema = version["schema"]["openAPIV3Schema"]
        schema["properties"] |= {
            "apiVersion": {"const": f"{group}/{version['name']}"},
            "kind": {"const": kind},
            "metadata": {"$ref": OBJECT_META},
        }
        close(schema)
        name = f"{kind}-{group.partition('.')[0]}-{version['name']}.json".lower()
        (folder / name).write_text(json.dumps(schema), encoding="utf-8")


def close(schema: Any) -> None:
    """Makes unknown fields an error: the API server drops them silently, and a typing mistake with them."""
    if not isinstance(schema, dict):
        return  # `additionalProperties: true`
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
        schema["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    elif "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    inner = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for part in inner:  # not into allOf and its like: structural schemas restrict there, and define nothing
        close(part)
