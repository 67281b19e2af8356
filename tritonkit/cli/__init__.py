"""The command line. One small module a command; each is imported only when it is called."""

from __future__ import annotations

import sys

from tritonkit.cli.group import tritonkit

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Runs one command. 0: fine, 1: the user's to mend, 2: ours."""
    from tritonkit.cli.failures import guarded

    status = guarded(tritonkit, arguments)
    if arguments is None:
        sys.exit(status)
    return status
