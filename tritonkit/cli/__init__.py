"""The command line. One small module a command; each is imported only when it is called."""

from __future__ import annotations

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Runs one command. 0: fine, 1: the user's to mend, 2: ours.

    Without `arguments` it is the process that runs it, which ends then. This module imports nothing, so that Ctrl-C
    falls inside of this function from the first millisecond on.
    """
    if arguments is not None:
        from tritonkit.cli.failures import guarded
        from tritonkit.cli.group import tritonkit

        return guarded(tritonkit, arguments)
    import sys

    status = 130
    try:
        status = _process()
    except KeyboardInterrupt:  # while the modules are imported that would have said so, or a second one
        if sys.stderr is not None:
            sys.stderr.write("\ninterrupted\n")
    raise SystemExit(status)


def _process() -> int:
    """The command that the process was started for."""
    import sys

    from tritonkit.cli.signals import interrupts_end_it, interrupts_kill_it

    interrupts_end_it()
    import os
    from io import TextIOWrapper
    from pathlib import Path

    from tritonkit.cli.failures import guarded
    from tritonkit.cli.group import tritonkit

    # A stream that is closed (`2>&-`) is None to Python.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115  (for as long as Python runs)
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be any bytes
    status = guarded(tritonkit, None)
    interrupts_kill_it()
    return status
