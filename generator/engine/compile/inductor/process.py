"""A worker process with a time limit: it and all that it started end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType


@dataclass(frozen=True)
class Ended:
    """How it ended: its exit status (negative: the signal), whether by the time limit, and its last words."""

    status: int
    timed_out: bool
    words: str


def run_worker(argv: Sequence[str], log: Path, limit_s: float, environment: Mapping[str, str]) -> Ended:
    """Waits for it; its output is in `log`. On Ctrl-C and whatever else is raised here, it ends too."""
    timed_out, process = False, None
    try:
        with _without_interrupts():
            process = _start(argv, log, environment)
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        timed_out = True
    finally:
        if process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process is not None  # noqa: S101  (else _start has raised)
    return Ended(process.returncode, timed_out, last_words(log))


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
    """The last lines of a log, in one."""
    return " ".join(log.read_text(errors="replace").split())[-characters:]
