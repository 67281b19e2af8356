"""The engines of a project: `engines/<target>/<model>/<version>/` with the engine's file and its engine.json.

They are inputs of a rendering, as ONNX files are: a model repository is made of specs, models and engines.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator.engine.install.manifest import parsed
from generator.project import Project

FOLDER = "engines"
MANIFEST = "engine.json"


@dataclass(frozen=True)
class Installed:
    """An engine that is there. `manifest` is its engine.json, `folder` where both files are."""

    target: str
    model: str
    version: int
    folder: Path
    manifest: Mapping[str, Any]

    @property
    def engine(self) -> str:
        """What runs it."""
        return str(self.manifest["engine"])

    @property
    def precision(self) -> str:
        """What it computes in."""
        return str(self.manifest["precision"])

    @property
    def key(self) -> str:
        """The hash of the request that it was built for."""
        return str(self.manifest["key"])

    @property
    def file(self) -> str | None:
        """The engine's file; None where the ONNX file is served as it is."""
        stated = self.manifest.get("file")
        return None if stated is None else str(stated["name"])

    def damage(self) -> str:
        """Why this is not what was built, in words; empty if it is."""
        if self.manifest.get("sha256") != own_sha256(self.manifest):
            return f"{MANIFEST} was changed by hand: its own SHA-256 is another"
        stated = self.manifest.get("file")
        if stated is None:
            return ""
        try:
            data = (self.folder / stated["name"]).read_bytes()
        except OSError as error:
            return f"{stated['name']} cannot be read: {error.strerror}"
        if hashlib.sha256(data).hexdigest() != stated["sha256"]:
            return f"{stated['name']} is not the file that was built: its SHA-256 is another"
        return ""


def own_sha256(manifest: Mapping[str, Any]) -> str:
    """The hash of all of a manifest that its inputs and the tools decide: not of what was measured, nor of itself."""
    fixed = {name: value for name, value in manifest.items() if name not in {"sha256", "measured"}}
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()


def folder_of(project: Project, target: str, model: str, version: int) -> Path:
    """Where the engine of a model's version is kept."""
    return project.root / FOLDER / target / model / str(version)


def installed(project: Project, target: str, model: str, version: int) -> Installed | None:
    """The engine that is there; None where there is none, or an engine.json that cannot be read as one."""
    folder = folder_of(project, target, model, version)
    try:
        return Installed(target, model, version, folder, parsed((folder / MANIFEST).read_bytes()))
    except (OSError, ValueError):
        return None


def unreadable(project: Project, target: str, model: str, version: int) -> str:
    """Why what is there is no engine that can be read, in words; empty where it can, or where nothing is."""
    folder = folder_of(project, target, model, version)
    try:
        parsed((folder / MANIFEST).read_bytes())
    except OSError as error:
        return f"its {MANIFEST} cannot be read: {error.strerror}" if folder.exists() else ""
    except ValueError as error:
        return f"its {MANIFEST} cannot be read: {error}"
    return ""


def all_installed(project: Project) -> Iterator[Installed]:
    """Every engine of the project, by target, model and version."""
    found = []
    for path in (project.root / FOLDER).glob(f"*/*/*/{MANIFEST}"):
        target, model, version = path.relative_to(project.root / FOLDER).parts[:3]
        if version.isascii() and version.isdigit() and (one := installed(project, target, model, int(version))):
            found.append(one)
    yield from sorted(found, key=lambda one: (one.target, one.model, one.version))
