"""Keeps what libraries in C write to stderr out of the server's log."""

from __future__ import annotations

import os
import threading
from types import TracebackType

_STDERR = 2


class Quiet:
    """While any thread is within it, file descriptor 2 leads to nowhere; costs about 1 us.

    libpng and libjpeg write a line for each damaged file, past OpenCV's log levels: a client could fill the
    log with them. What other threads write meanwhile is lost too. Without a stderr it does nothing.
    """

    def __init__(self) -> None:
        self._nowhere = os.open(os.devnull, os.O_WRONLY)
        self._lock = threading.Lock()
        self._inside = 0
        self._stderr: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            try:
                self._stderr = os.dup(_STDERR)
            except OSError:
                self._stderr = None
            else:
                os.dup2(self._nowhere, _STDERR)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._stderr is not None:
                os.dup2(self._stderr, _STDERR)
                os.close(self._stderr)
