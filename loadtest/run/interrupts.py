"""Interrupts that wait while what was sent is put away: it cannot be sent again."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_noted() -> Iterator[list[int]]:
    """While the block runs, signals that Python would raise an interrupt for are noted in what it yields, no more.

    Who enters it raises KeyboardInterrupt afterwards, or marks the run. The block has to end by itself. Signals
    that are left to the system, and those of other threads, are left to them.
    """
    noted: list[int] = []
    before = {}
    try:
        if threading.current_thread() is threading.main_thread():  # no other one may say what happens on a signal
            for number in (signal.SIGINT, signal.SIGTERM):
                handler = signal.getsignal(number)
                if callable(handler):
                    before[number] = handler
                    signal.signal(number, lambda came, _frame: noted.append(came))
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
