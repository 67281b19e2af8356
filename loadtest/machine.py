"""Facts of the machine that a result was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any


def machine(*packages: str) -> dict[str, Any]:
    """Cores, Python, and the versions of `packages`: what it takes to compare a result with another one."""
    return {
        "cores": len(os.sched_getaffinity(0)), "system": platform.system(), "processor": platform.machine(),
        "python": platform.python_version(), "versions": {name: version(name) for name in packages},
    }  # fmt: skip
