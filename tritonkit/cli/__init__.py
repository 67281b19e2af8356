"""The command line. One small module a command; each is imported only when it is called."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path

from tritonkit.cli.group import tritonkit

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Runs one command. 0: fine, 1: the user's to mend, 2: ours."""
    from tritonkit.cli.failures import guarded

    if arguments is not None:
        return guarded(tritonkit, arguments)
    # A stream that is closed (`2>&-`) is None to Python.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115  (for as long as Python runs)
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be any bytes
    sys.exit(guarded(tritonkit, None))
