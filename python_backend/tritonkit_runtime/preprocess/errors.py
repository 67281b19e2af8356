"""Why steps stay on the CPU."""

from __future__ import annotations


class NotOnGpuError(RuntimeError):
    """The GPU cannot run these steps here: one sentence that says why, without an end."""
