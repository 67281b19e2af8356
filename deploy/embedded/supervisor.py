"""A small process between tritonkit and tritonserver that leaves nothing behind, whoever dies first.

Started as `python -I -S supervisor.py`, standard library only, in a session of its own, so that a terminal's
Ctrl-C reaches tritonkit alone. Standard input is a pipe that tritonkit holds: first one line with the job as
JSON, then commands. Its end means that tritonkit is gone, even if by SIGKILL.

- `stop SECONDS` sends SIGTERM and, after so many seconds, SIGKILL (0: SIGKILL at once).
- The server's process id is written to standard output, one line; the exit status is the server's.
- The server gets SIGTERM from the kernel if this process dies.
- Orphans of the server (the Python stubs) become children of this process, which kills and reaps them.
- At the end the server's shared memory segments and its working directory are removed; the directory around
  that one too if tritonkit is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import sys
import time
from typing import Any

OWNER_GONE_GRACE_S = 6.0
SHM_DIRECTORY = "/dev/shm"  # noqa: S108 - the kernel's name for POSIX shared memory
SHM_NAME = "tritonkit-"
LOCK_SUFFIX = "lock"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_REAP_DEADLINE_S = 3.0


def remove_segments(prefix: str) -> list[str]:
    """Unlink the shared memory segments with this prefix, its lock file last; return their names."""
    names = sorted(name for name in os.listdir(SHM_DIRECTORY) if name.startswith(prefix))  # noqa: PTH208
    for name in sorted(names, key=lambda name: name.endswith(LOCK_SUFFIX)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{SHM_DIRECTORY}/{name}")  # noqa: PTH108
    return names


def claim_prefix() -> tuple[str, int]:
    """Take a fresh prefix for segments: the prefix, and a locked descriptor that says its owner lives.

    The lock is the kernel's: it ends with the last process that inherited the descriptor, however that
    process ended, so a lock that can be taken marks segments that nobody owns.
    """
    while True:
        prefix = f"{SHM_NAME}{os.urandom(4).hex()}-"
        path = f"{SHM_DIRECTORY}/{prefix}{LOCK_SUFFIX}"
        try:
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        except FileExistsError:
            continue
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:
                return prefix, fd
        os.close(fd)  # a sweep came in between opening and locking


def stale_prefixes() -> list[str]:
    """Prefixes whose owners are gone: their lock can be taken."""
    stale = []
    for name in os.listdir(SHM_DIRECTORY):  # noqa: PTH208
        if not (name.startswith(SHM_NAME) and name.endswith(f"-{LOCK_SUFFIX}")):
            continue
        try:
            fd = os.open(f"{SHM_DIRECTORY}/{name}", os.O_RDWR)
        except OSError:
            continue  # gone meanwhile, or another user's
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stale.append(name.removesuffix(LOCK_SUFFIX))
        except BlockingIOError:
            pass
        finally:
            os.close(fd)
    return sorted(stale)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _start(job: dict[str, Any]) -> int:
    """Fork and execute the server in a session of its own; return its process id, which is its group's too."""
    supervisor = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != supervisor:  # it died before the line above
            os._exit(1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.chdir(job["cwd"])
        os.execve(job["argv"][0], job["argv"], job["env"])  # noqa: S606
    except OSError as error:
        os.write(2, f"error: starting the server: {error}\n".encode())
    finally:
        os._exit(127)


class _Supervisor:
    def __init__(self, job: dict[str, Any]) -> None:
        self.owner: int = job["owner"]
        self.status: int | None = None
        self.owner_gone = False
        self.kill_at: float | None = None
        self.wake, write_end = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.pid = _start(job)

    def _on_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGTERM:
            self.stop(OWNER_GONE_GRACE_S)

    def stop(self, grace_s: float) -> None:
        """Ask the server to end, kill it after the grace; a later call can only shorten the grace."""
        first = self.kill_at is None
        kill_at = time.monotonic() + grace_s
        self.kill_at = kill_at if self.kill_at is None else min(self.kill_at, kill_at)
        if first and grace_s > 0 and self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def _lose_owner(self) -> None:
        self.owner_gone = True
        self.stop(OWNER_GONE_GRACE_S)

    def reap(self) -> bool:
        """Collect ended children; False when there is none left at all."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return True
                if pid == self.pid:
                    self.status = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            return False

    def run(self) -> None:
        """Return when the server has ended; by itself, asked, or killed."""
        commands: list[int] = [0]
        buffer = b""
        while self.reap() and self.status is None:
            now = time.monotonic()
            if os.getppid() != self.owner:
                # The pipe alone would not tell if a fork of tritonkit still held its other end.
                self._lose_owner()
            if self.kill_at is not None and now >= self.kill_at:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
            left = 1.0 if self.kill_at is None else min(1.0, max(0.02, self.kill_at - now))
            ready, _, _ = select.select([*commands, self.wake], [], [], left)
            if self.wake in ready:
                os.read(self.wake, 4096)
            if 0 in ready:
                data = os.read(0, 4096)
                if not data:
                    commands.clear()
                    self._lose_owner()
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self.stop(float(line.removeprefix(b"stop ")))

    def finish(self, prefix: str, cwd: str) -> None:
        """Kill and reap all that is left, then remove what it would leave behind."""
        deadline = time.monotonic() + _REAP_DEADLINE_S
        while self.reap() and time.monotonic() < deadline:
            with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123
                children = file.read().split()
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)
            select.select([], [], [], 0.01)
        remove_segments(prefix)
        import shutil  # late: it costs start-up time

        # The directory around it holds the log: for the owner to keep or remove, if there still is one.
        shutil.rmtree(os.path.dirname(cwd) if self.owner_gone else cwd, ignore_errors=True)  # noqa: PTH120


def _read_job() -> dict[str, Any] | None:
    """The first line of standard input, byte by byte so that no command after it is swallowed."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return None
        line += byte
    job: dict[str, Any] = json.loads(line)
    return job


def main() -> int:
    """Run one server to its end; the exit status is the server's, 128 + the number if a signal ended it."""
    job = _read_job()
    if job is None:
        return 1
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    os.set_inheritable(job["lock_fd"], True)
    supervisor = _Supervisor(job)
    with contextlib.suppress(BrokenPipeError):
        os.write(1, b"%d\n" % supervisor.pid)
    supervisor.run()
    supervisor.finish(job["shm_prefix"], job["cwd"])
    status = supervisor.status if supervisor.status is not None else 1
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
