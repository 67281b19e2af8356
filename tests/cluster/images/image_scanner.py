"""Dockle, which checks a built image against the CIS benchmark."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from docker_engine import DockerEngine

_SCAN_S = 300.0
_PIECE_BYTES = 4 << 20
Finding = tuple[str, str]  # the check, and what it says


def findings(engine: DockerEngine, image: str, dockle: Path, folder: Path) -> list[Finding]:
    """What Dockle finds in an image of the engine. It asks nobody: neither a registry, nor for a newer version."""
    archive = folder / "image.tar"
    with archive.open("wb") as file:
        for piece in engine.client.images.get(image).save(chunk_size=_PIECE_BYTES):
            file.write(piece)
    try:
        done = subprocess.run(
            [dockle, "--format", "json", "--input", archive], capture_output=True, text=True, timeout=_SCAN_S,
            check=False, cwd=folder, env={**os.environ, "TMPDIR": str(folder)},
        )  # fmt: skip
    finally:
        archive.unlink()
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["summary"]["pass"] > 0, told
    return [(one["code"], alert) for one in told["details"] for alert in one["alerts"]]
