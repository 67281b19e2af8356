"""An engine put in its place: whole or not at all, and what was there stays until then."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from generator.engine.errors import Finding, StageError
from generator.engine.install.manifest import FORMAT
from generator.engine.install.store import MANIFEST, Installed, folder_of, own_sha256
from generator.project import Project
from generator.render.json_text import pretty
from generator.whole_file import passing_folder
from generator.write.exchange import exchange


def manifest_of(
    place: tuple[str, str, int], key: str, request: Mapping[str, Any], *, engine: str, precision: str,
    file: tuple[str, bytes] | None, facts: Mapping[str, Any], measured: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """engine.json as data, of target, model and version `place`.

    `facts` are decided by the inputs and the tools alone, and `sha256` is of them and all above: the same inputs give
    the same hash. `measured` (latency, candidates, machine) is different every time that it is measured.
    """
    target, model, version = place
    fixed = {
        "format": FORMAT, "target": target, "model": model, "version": version, "key": key,
        "engine": engine, "precision": precision,
        "file": None if file is None else {
            "name": file[0], "bytes": len(file[1]), "sha256": hashlib.sha256(file[1]).hexdigest(),
        },
        "request": dict(request), **facts,
    }  # fmt: skip
    return {**fixed, "sha256": own_sha256(fixed), "measured": dict(measured)}


def install(
    project: Project, place: tuple[str, str, int], manifest: Mapping[str, Any], data: bytes | None
) -> Installed:
    """Writes the engine's file (`data`; None where the ONNX file is served as it is) and its engine.json.

    `place` is target, model and version.

    Raises StageError (TK983); then, and after Ctrl-C, the engine that was there is still there.
    """
    folder = folder_of(project, *place)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with passing_folder(folder.parent, f".{folder.name}-") as stage:
            stage.chmod(0o755)
            if data is not None:
                (stage / str(manifest["file"]["name"])).write_bytes(data)
            (stage / MANIFEST).write_text(f"{pretty(dict(manifest))}\n", encoding="utf-8")
            if folder.exists():
                exchange(stage, folder)
            else:
                stage.rename(folder)
    except OSError as error:
        what = f"the engine cannot be written to {folder}: {error.strerror}"
        raise StageError(Finding("TK983", what, "what was there is as it was", "engine")) from error
    return Installed(*place, folder, manifest)
