"""Interrupts that wait while what was sent is put away: it cannot be sent again."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = "interrupted"  # why a run was stopped


class Noted(list[int]):
    """The numbers of the signals that came, in order; each is raised as well while `heard` is entered."""

    is_heard = False

    @contextmanager
    def heard(self, after: int = 0) -> Iterator[None]:
        """The first interrupt within the block is raised in it; at its beginning, when more than `after` came before.

        No other one follows until the block is entered again: who handles the first is not interrupted.
        """
        self.is_heard = True
        try:
            if len(self) > after:
                raise KeyboardInterrupt
            yield
        finally:
            self.is_heard = False


@contextmanager
def interrupts_noted() -> Iterator[Noted]:
    """While the block runs, signals that Python would raise an interrupt for are noted in what it yields, no more.

    Who enters it raises KeyboardInterrupt afterwards, or marks the run. The block has to end by itself, but for what
    it has `heard` within. Signals that are left to the system, and those of other threads, are left to them.
    """
    noted = Noted()
    before: dict[int, Callable[[int, FrameType | None], object]] = {}

    def note(came: int, frame: FrameType | None) -> None:
        noted.append(came)
        if noted.is_heard:
            noted.is_heard = False
            before[came](came, frame)

    try:
        if threading.current_thread() is threading.main_thread():  # no other one may say what happens on a signal
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                handler = signal.getsignal(number)
                if callable(handler):
                    before[number] = handler
                    signal.signal(number, note)
        yield noted
    finally:
        for noticed, handler in before.items():
            signal.signal(noticed, handler)
