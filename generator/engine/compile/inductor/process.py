"""A worker process with a time limit: it and all that it started end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

_LOOK_S = 1.0
_STACK = "(most recent call first):"  # above a thread's lines, of which the main one comes last


@dataclass(frozen=True)
class Ended:
    """How it ended: its exit status (negative: the signal), whether by the time limit, and its last words."""

    status: int
    timed_out: bool
    words: str


def run_worker(
    argv: Sequence[str], log: Path, limit_s: float, environment: Mapping[str, str], look: Callable[[], object] = int
) -> Ended:
    """Waits for it; its output is in `log`. On Ctrl-C and whatever else is raised here, it ends too.

    `look` is called once a second meanwhile.
    """
    timed_out, process, end = False, None, time.monotonic() + limit_s
    try:
        with _without_interrupts():
            process = _start(argv, log, environment)
        while not timed_out and not _ended(process, min(_LOOK_S, max(0.0, end - time.monotonic()))):
            look()
            timed_out = time.monotonic() >= end
    finally:
        if process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process is not None  # noqa: S101  (else _start has raised)
    return Ended(process.returncode, timed_out, last_words(log))


def _ended(process: subprocess.Popen[bytes], within_s: float) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(within_s)
    return process.returncode is not None


def _start(argv: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=dict(environment),
            start_new_session=True,  # a group of its own: compilers that it starts end with it
        )  # fmt: skip


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """A Ctrl-C while a process starts comes when it has: else nobody would know whom to end."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        before(*came[0])


def last_words(log: Path, characters: int = 400) -> str:
    """The last lines of a log, in one; where they are the stack of a process that died, where it was."""
    words = " ".join(log.read_text(errors="replace").split())
    place = words.rfind(_STACK)
    return words[-characters:] if place < 0 else words[place + len(_STACK) :].strip()[:characters]
