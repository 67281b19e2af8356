"""SIGTERM and SIGINT end a command the way Ctrl-C does: with everything cleaned up."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

TYPE_CHECKING = False

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_AGAIN_AFTER_S = 0.005


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """While the block runs, both raise KeyboardInterrupt.

    SIGINT too, because a shell that starts a command in the background has it ignore that signal.
    """
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupted_later() -> Iterator[None]:
    """While the block runs, both wait, and raise KeyboardInterrupt at its end.

    For imports of libraries in C++: one that is interrupted crashes the process or fails with an error of its own.
    """
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: came.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def interrupts_end_it() -> None:
    """For the rest of this process: an interrupt that falls where Python cannot raise it comes again a moment later.

    That is while it frees an object or a lock of an import: Python would print a traceback and go on.
    """
    usual = sys.unraisablehook

    def told(what: UnraisableHookArgs) -> None:
        if what.exc_type is None or not issubclass(what.exc_type, KeyboardInterrupt):
            usual(what)
            return
        import os
        import threading

        again = threading.Timer(_AGAIN_AFTER_S, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()

    sys.unraisablehook = told


def interrupts_kill_it() -> None:
    """When all is done and said: an interrupt while Python itself ends has nothing left to tell."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
