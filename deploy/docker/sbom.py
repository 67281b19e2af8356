"""The image's bill of materials as CycloneDX 1.6, of what is really installed in it.

Written here and not by cyclonedx-python-lib: that brings six packages along for one JSON document of five fields. It
judges the document in the tests, strictly, against CycloneDX's own schema.

Scanners look known holes up by it, and need more than names: which distribution this is, without which Trivy passes
all of its packages over, and the source package of each, by which Debian and Ubuntu list holes. Trivy reads that in
properties of its own, Grype and others in the package URL.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from deploy.docker.engine import Engine
from deploy.docker.problem import refused
from deploy.docker.request import FOLDER, Request

_INVENTORY = FOLDER / "tools" / "inventory.py"
_NAMESPACE = uuid.UUID("5c5b2f0e-7a53-5d0a-9a9f-3d3f6f9c3b6e")  # tritonkit's own


def installed(engine: Engine, image: str) -> dict[str, Any]:
    """What the image's own package managers say. Raises ProblemsError (TK475)."""
    printed = engine.output(image, ["python3", "-I", "-c"], _INVENTORY.read_text(encoding="utf-8"))
    try:
        found: dict[str, Any] = json.loads(printed)
    except ValueError as error:
        raise refused("TK475", image, f"what is installed in `{image}` cannot be read: {error}") from error
    return found


def bill(request: Request, image_id: str, name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The document. The same image gives the same document: it has no time, and a serial number of the image's ID."""
    system = found["os"]
    server = f"pkg:generic/tritonserver@{request.release}"
    folder = "" if request.kind == "load" else "models/"
    components = [
        *([] if request.kind == "load" else [_component("application", "tritonserver", request.release, server)]),
        *_system(system),
        *(_debian(one, system) for one in found["debian"]),
        *(_python(one) for one in found["packages"]),
        *(_file(f"/{folder}{path}", data) for path, data in sorted(request.files.items())),
    ]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, image_id)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": "image",
                "name": name.rpartition(":")[0] or name,
                "version": image_id,
            },
            "properties": [
                {"name": "io.tritonkit.target", "value": request.target},
                {"name": "io.tritonkit.repository", "value": f"sha256:{request.repository_hash()}"},
            ],
        },
        "components": list({component["bom-ref"]: component for component in components}.values()),
    }


def _component(kind: str, name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _system(system: Mapping[str, str]) -> list[dict[str, Any]]:
    if "ID" not in system:
        return []
    version = system.get("VERSION_ID", "")  # none of a Debian that is not released yet
    return [{"type": "operating-system", "bom-ref": "system", "name": system["ID"], "version": version}]


def _debian(one: Mapping[str, str], system: Mapping[str, str]) -> dict[str, Any]:
    family = system.get("ID", "debian")
    source, version = _source(one)
    purl = (
        f"pkg:deb/{family}/{quote(one['package'], safe='')}@{quote(one['version'], safe='')}"
        f"?arch={one['architecture']}&distro={family}-{system.get('VERSION_ID', '')}"
    )
    if (source, version) != (one["package"], one["version"]):
        upstream = source if version == one["version"] else f"{source}@{version}"
        purl += f"&upstream={quote(upstream, safe='')}"
    properties = [
        {"name": "aquasecurity:trivy:SrcName", "value": source},
        {"name": "aquasecurity:trivy:SrcVersion", "value": version},
    ]
    return {**_component("library", one["package"], one["version"], purl), "properties": properties}


def _source(one: Mapping[str, str]) -> tuple[str, str]:
    """Name and version of the source package: dpkg's `NAME (VERSION)`, in which what is its own is left out."""
    name, _, version = one["source"].partition(" (")
    return name or one["package"], version.removesuffix(")") or one["version"]


def _python(one: Mapping[str, str]) -> dict[str, Any]:
    name = one["name"].lower().replace("_", "-")
    made = _component("library", one["name"], one["version"], f"pkg:pypi/{name}@{quote(one['version'], safe='')}")
    return {**made, "licenses": [{"license": {"name": one["license"]}}]} if one["license"] else made


def _file(path: str, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    kind = "machine-learning-model" if path.endswith((".onnx", ".plan", ".pt", ".safetensors")) else "file"
    return {
        "type": kind,
        "bom-ref": f"file:{path}",
        "name": path,
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def as_text(document: Mapping[str, Any]) -> str:
    """JSON that ends with a line break."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
