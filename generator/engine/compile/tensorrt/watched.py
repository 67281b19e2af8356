"""A program that is run with a time limit, and that nothing outlives."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO

_TICK_S = 10.0


def watched(
    command: Sequence[str], env: Mapping[str, str], told: Callable[[str | None], None], limit_s: float
) -> int | None:
    """The program's exit status, or None when it was ended because `limit_s` seconds had passed.

    `told` gets each line of its output, and None for every ten seconds of silence. Its stdin stays open and empty
    for as long as this process lives. Whatever happens here, it and all that it started are gone afterwards. Raises
    OSError when it cannot be started.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(env),
        start_new_session=True,
    )  # fmt: skip
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read_lines, args=(process.stdout, lines), daemon=True)
    reader.start()
    try:
        return _follow(process, lines, told, limit_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _follow(
    process: subprocess.Popen[bytes], lines: queue.SimpleQueue[str | None], told: Callable[[str | None], None],
    limit_s: float,
) -> int | None:  # fmt: skip
    end = time.monotonic() + limit_s
    while (left := end - time.monotonic()) > 0:
        try:
            line = lines.get(timeout=min(_TICK_S, left))
        except queue.Empty:
            if left > _TICK_S:
                told(None)
            continue
        if line is None:
            return process.wait()
        told(line)
    return None


def _read_lines(stream: IO[bytes] | None, lines: queue.SimpleQueue[str | None]) -> None:
    for line in stream or ():
        lines.put(line.decode(errors="replace").rstrip("\n"))
    lines.put(None)
