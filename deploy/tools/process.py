"""The one place that runs programs of others: captured, bounded in time, ended when we are interrupted."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from generator.problems import UserError

# After SIGTERM a program has so long: helm writes down meanwhile that its release was not finished.
GRACE_S = 10.0
_LOOK_S, _SOON_S = 0.05, 0.002
_REST_S = 2.0  # for what a program has written before it ended; one that it left behind may hold the pipe for ever

T = TypeVar("T")
_Lines = queue.SimpleQueue[str | None]  # None: a stream has ended


@dataclass(frozen=True)
class Completed:
    """How a program ended: its exit status (negative: the signal), and all that it wrote."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    @property
    def is_fine(self) -> bool:
        """Whether the exit status is 0."""
        return self.status == 0


class NoAnswerError(UserError):
    """Whom a program talks to does not answer: for now, or at all."""


class TimedOutError(NoAnswerError):
    """A program took longer than it may; it was ended."""


class BrokenAnswerError(UserError):
    """A program ended well and printed something else than it was asked for."""


def answer(done: Completed, read: Callable[[str], T], kind: type[BrokenAnswerError]) -> T:
    """What `read` makes of what a program printed. Raises `kind` where it printed nothing, or something else: no more
    of it is shown than a beginning that is no data, because data may hold secrets."""
    try:
        return read(done.stdout)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        printed = done.stdout.strip()
        first = printed[:60].partition("\n")[0]
        if not printed:
            what = "nothing"
        elif first.startswith(("{", "[")):
            what = "data that is cut short, or not of the kind that was asked for"
        else:
            what = f"what is no data: {first}"
        name = Path(done.argv[0]).name
        raise kind(
            f"`{shown(done.argv)}` ended well and printed {what}",
            f"see which `{name}` is on PATH ({done.argv[0]}), and whether a wrapper prints something of its own",
        ) from error


def find(name: str, install: str) -> Path:
    """The program on PATH, else beside this Python. Raises UserError with `install`, how to come by it."""
    on_path = shutil.which(name)
    found = Path(on_path) if on_path else beside(name)
    if found is None:
        raise UserError(f"`{name}` is not installed here: it is neither on PATH nor beside {sys.executable}", install)
    return found


def beside(name: str) -> Path | None:
    """The program beside this Python; None where there is none."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    return Path(found) if found else None


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    input: str | None = None,  # noqa: A002  (as subprocess calls it)
    timeout_s: float,
    on_line: Callable[[str], None] | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Runs a program to its end, in a session of its own, so that a terminal's Ctrl-C reaches us alone.

    `env` is the whole environment (None: ours), `input` what it reads on standard input (None: nothing). Secrets go
    there, never into `argv`, which every user of the machine can read. `on_line` gets each line of both streams as
    it comes, in this thread. When it raises, or we are interrupted, the program and all that it started get SIGTERM,
    GRACE_S seconds later SIGKILL, and are gone before the exception goes on.

    Raises TimedOutError after `timeout_s` seconds, UserError when the program cannot be started.
    """
    words = tuple(map(str, argv))
    lines: _Lines = queue.SimpleQueue()
    deadline = time.monotonic() + timeout_s
    with _started(words, env, cwd, piped=input is not None) as process:
        streams = [_Reader(stream, lines) for stream in (process.stdout, process.stderr) if stream is not None]
        if process.stdin is not None:
            threading.Thread(target=_write, args=(process.stdin, input or ""), daemon=True).start()
        for line in _until_ended(process, lines, deadline):
            if on_line is not None:
                on_line(line)
        if process.poll() is None:
            raise TimedOutError(
                f"`{shown(words)}` has not ended within {timeout_s:g} seconds, and was stopped",
                "see whether what it talks to answers at all",
            )
    out, err = ("".join(stream.read) for stream in streams)
    return Completed(words, process.returncode, out, err)


def _until_ended(process: subprocess.Popen[bytes], lines: _Lines, deadline: float) -> Iterator[str]:
    """Every line as it comes, until the program has ended and both streams have, or the deadline is over.

    One that ended in time is heard out, whatever the deadline: half of what it wrote is no answer.
    """
    open_streams, ended_at = 2, 0.0
    while True:
        now = time.monotonic()
        if process.poll() is not None:
            ended_at = ended_at or now
            if not open_streams or now > ended_at + _REST_S:
                return
        elif now > deadline:
            return
        with suppress(queue.Empty):
            line = lines.get(timeout=_LOOK_S if open_streams else _SOON_S)
            if line is None:
                open_streams -= 1
            else:
                yield line


def shown(argv: Sequence[str]) -> str:
    """A command line as it is named in messages: the program without its folder, and at most six words."""
    words = [Path(argv[0]).name, *argv[1:]]
    return " ".join(words[:6]) + (" …" if len(words) > 6 else "")


@contextmanager
def _started(
    words: tuple[str, ...], env: Mapping[str, str] | None, cwd: Path | None, *, piped: bool
) -> Iterator[subprocess.Popen[bytes]]:
    """The program; on the way out it is gone, whatever happens."""
    try:
        process = subprocess.Popen(
            words, env=env, cwd=cwd, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"`{words[0]}` cannot be started: {reason[:1].lower()}{reason[1:]}") from error
    try:
        yield process
    finally:
        if process.poll() is None:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the whole group, then SIGKILL; an interrupt meanwhile does not leave it running."""
    _signal(process, signal.SIGTERM)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal(process, signal.SIGKILL)  # also what it started and left behind
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


class _Reader:
    """Reads a stream in a thread of its own: a program that writes to both must not wait for either."""

    def __init__(self, stream: IO[bytes], lines: _Lines) -> None:
        self.read: list[str] = []
        self._stream, self._lines = stream, lines
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with self._stream:
            for raw in self._stream:
                line = raw.decode(errors="replace")
                self.read.append(line)
                self._lines.put(line.rstrip("\r\n"))
        self._lines.put(None)


def _write(stream: IO[bytes], text: str) -> None:
    with suppress(BrokenPipeError), stream:  # it ended, or closed its input, before it had read all
        stream.write(text.encode())
