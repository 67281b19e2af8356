"""The command line. One small module a command; each is imported only when it is called."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from tritonkit.cli.group import tritonkit

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Runs one command. 0: fine, 1: the user's to mend, 2: ours."""
    from tritonkit.cli.failures import guarded

    if arguments is not None:
        return guarded(tritonkit, arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be any bytes
    sys.exit(guarded(tritonkit, None))
