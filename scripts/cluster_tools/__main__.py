"""Installs the tools: `python -m scripts.cluster_tools`. Prints where they are."""

from __future__ import annotations

import signal
import sys

from scripts.cluster_tools.folder import ToolsError, folder
from scripts.cluster_tools.install import install


def say(line: str) -> None:
    """Progress, on standard error."""
    print(f"cluster tools: {line}", file=sys.stderr, flush=True)


def main() -> int:
    """Installs what is missing; 1 when something on this machine stands against it."""
    place = folder()
    try:
        install(place, say)
    except ToolsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(place.path)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it ends what it has started
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
