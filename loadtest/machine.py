"""Facts of the machine that a result was measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def machine(*packages: str) -> dict[str, Any]:
    """Cores, Python, and the versions of those of `packages` that are here: what it takes to compare results."""
    return {
        "cores": len(os.sched_getaffinity(0)), "system": platform.system(), "processor": platform.machine(),
        "python": platform.python_version(), "versions": dict(_versions(packages)),
    }  # fmt: skip


def _versions(packages: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """One that only sends load has no server."""
    for name in packages:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue
