"""SIGTERM, SIGINT and SIGHUP end a command the way Ctrl-C does: with everything cleaned up, and none is lost."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

TYPE_CHECKING = False

if TYPE_CHECKING:
    from sys import UnraisableHookArgs
    from typing import Any

_AGAIN_AFTER_S = 0.005


class _Memory:
    """Of the block that runs: whether an interrupt came that nobody has handled yet."""

    came = False
    comes_again = False  # the signal that is under way is no new one


_memory = _Memory()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    is_new, _memory.comes_again = not _memory.comes_again, False
    if is_new:
        _memory.came = True
        raise KeyboardInterrupt
    raise_again()


def raise_again() -> None:
    """Raises the interrupt of the block that runs once more, if one came and a library has swallowed it.

    numpy 1.26 does so: `np.dtype(type)` asks Python code whether it is of ctypes, and clears whatever that raises.
    While an exception is handled nothing is raised: that is on its way to the end, and cleans up.
    """
    if _memory.came and sys.exc_info()[1] is None:
        raise KeyboardInterrupt


def forget_interrupt() -> None:
    """For who has caught KeyboardInterrupt within the block, and goes on."""
    _memory.came = False


def _handled_by(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Has it handle those that end a command; gives what did before. Under nohup no terminal that goes is one."""
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return {number: signal.signal(number, handler) for number in numbers}


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """While the block runs, each raises KeyboardInterrupt; at its end again, if something has swallowed that.

    SIGINT too, because a shell that starts a command in the background has it ignore that signal.
    """
    _memory.came = _memory.comes_again = False
    before = _handled_by(_interrupt)
    try:
        yield
        if _memory.came:
            raise KeyboardInterrupt
    except Exception as error:
        if _memory.came:  # it has become this error, or was swallowed before it
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _memory.came = False


@contextmanager
def interrupted_later() -> Iterator[None]:
    """While the block runs, they wait, and raise KeyboardInterrupt at its end.

    For imports of libraries in C++: one that is interrupted crashes the process or fails with an error of its own.
    """
    came: list[int] = []
    before = _handled_by(lambda number, _frame: came.append(number))
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
        import threading

        again = threading.Timer(_AGAIN_AFTER_S, _come_again, (_memory.came,))
        again.daemon = True
        again.start()

    sys.unraisablehook = told


def _come_again(is_remembered: bool) -> None:
    """Sends it once more, unless a block has remembered it and was ended by it since."""
    import os

    if not is_remembered or _memory.came:
        _memory.comes_again = is_remembered
        os.kill(os.getpid(), signal.SIGINT)


def interrupts_kill_it() -> None:
    """When all is done and said: an interrupt while Python itself ends has nothing left to tell."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
