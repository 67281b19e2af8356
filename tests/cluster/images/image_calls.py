"""What tests of images call: the command that builds them, and containers that have to answer."""

from __future__ import annotations

import http.client
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker_engine import DockerEngine

CLONE = Path(__file__).parents[3]
KEY = "a-key-that-nobody-else-has"


def environment(engine: DockerEngine) -> dict[str, str]:
    """Of a command that speaks to this engine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "PYTHONPATH"))}
    return {**kept, "DOCKER_HOST": engine.host, "TRITON_RESTRICTED_KEY": KEY, "COLUMNS": "120"}


def command(*words: str) -> list[str]:
    """`tritonkit deploy …`."""
    return [str(Path(sys.executable).with_name("tritonkit")), "deploy", *words]


def build(engine: DockerEngine, project: Path, base: str, *words: str) -> dict[str, Any]:
    """An image of the digits, as the command's JSON tells it."""
    done = subprocess.run(
        command("image", "build", "specs/digits.yaml", "--embedded", "--base", base, "--json", *words),
        cwd=project, env=environment(engine), capture_output=True, text=True, timeout=1500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def make_image(engine: DockerEngine, name: str, dockerfile: str, files: Mapping[str, bytes | Path]) -> str:
    """An image that a test needs beside the project's own; `files` may be copied into it. `NAME:TAG@sha256:ID`."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content in {"Dockerfile": dockerfile.encode(), **files}.items():
            data = content if isinstance(content, bytes) else content.read_bytes()
            about = tarfile.TarInfo(path)
            about.size, about.mode = len(data), 0o755
            tar.addfile(about, io.BytesIO(data))
    packed.seek(0)
    made, _ = engine.client.images.build(fileobj=packed, custom_context=True, tag=name, rm=True, timeout=600)
    return f"{name}@{made.id}"


def wait_until_healthy(container: Any, timeout_s: float = 120.0) -> None:
    """Fails with the container's log."""
    deadline = time.monotonic() + timeout_s
    while True:
        container.reload()
        state = container.attrs["State"]
        if state["Health"]["Status"] == "healthy":
            return
        assert state["Running"], container.logs().decode()
        assert time.monotonic() < deadline, container.logs().decode()
        time.sleep(0.2)


def get(address: str, path: str, headers: dict[str, str] | None = None) -> int:
    """The status of the answer."""
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request("GET", path, headers=headers or {})
        return connection.getresponse().status
    finally:
        connection.close()
