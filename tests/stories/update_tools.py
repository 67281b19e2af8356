"""What the stories of updates share: the commands, and the server's own word on what it serves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from story_tools import Protocol, Serving, tritonkit

from deploy.embedded import state
from deploy.embedded.control import READY, Control


def updated(root: Path, *arguments: str) -> dict[str, Any]:
    """`tritonkit update --json`, which must work: each model's kind, versions before and now."""
    done = tritonkit(root, "update", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return {m["name"]: (m["kind"], m["before"], m["after"]) for m in json.loads(done.stdout)["models"]}


@contextmanager
def control(root: Path) -> Iterator[Control]:
    """The server's own word on what it serves."""
    [record] = state.running(root / "build" / "run")
    with Control(record) as found:
        yield found


def ready(root: Path, model: str) -> list[int]:
    """The versions that the server's index calls ready."""
    with control(root) as server:
        return sorted(v for v, found in server.index()[model].items() if found == READY)


def addresses(process: Serving) -> dict[Protocol, str]:
    """host:port by protocol."""
    record = process.record()
    return {"grpc": record["grpc_address"], "http": record["http_address"]}
