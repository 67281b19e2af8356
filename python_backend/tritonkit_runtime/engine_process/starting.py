"""Finding the engine process, or starting it: whoever binds its address first does."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import tritonkit_runtime
from tritonkit_runtime.engine_process import wire
from tritonkit_runtime.engine_process.work import Work

_PAUSE_S = 0.02
_ERRORS = 2  # what this process writes for others may end with it, and not with the engine process
_BACKLOG = 256  # instances that may wait while the engine is loaded
# `-m tritonkit_runtime.engine_process`, but for the working directory: its modules would be taken for others.
_BEGINNING = (
    "import sys; sys.path[:] = filter(None, sys.path); import runpy; "
    "runpy.run_module('tritonkit_runtime.engine_process', run_name='__main__', alter_sys=True)"
)
_ATTEMPTS = 3  # a process that is just ending may still take a connection


class NoEngineError(RuntimeError):
    """There is no engine process and none can be started; the message says why."""


def connected(work: Work, descriptor: int, size_bytes: int) -> socket.socket:
    """A connection to the engine process of this work, which is ready and has the memory; NoEngineError.

    It waits as long as the engine takes to load.
    """
    for _ in range(_ATTEMPTS):
        try:
            connection = _reached(work)
        except OSError as error:
            raise NoEngineError(f"the engine process of {work.about} cannot be reached: {error}") from error
        try:
            _same_user(connection)
            wire.send_hello(connection, descriptor, size_bytes)
            words = wire.receive_words(connection)
        except (EOFError, OSError):
            connection.close()
            continue
        except BaseException:
            connection.close()
            raise
        if words:
            connection.close()
            raise NoEngineError(words)
        return connection
    raise NoEngineError(
        f"the engine process of {work.about} ended {_ATTEMPTS} times before it was ready; the server's log may have "
        "its last words"
    )


def _reached(work: Work) -> socket.socket:
    address = work.address()
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(address)
        except ConnectionRefusedError:  # nobody listens there
            connection.close()
            if not _started(work, address):
                time.sleep(_PAUSE_S)  # somebody else has just begun to
        except BaseException:
            connection.close()
            raise
        else:
            return connection


def _started(work: Work, address: str) -> bool:
    """Starts the process; False where another instance was first. NoEngineError where that fails."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        try:
            listener.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
        listener.listen(_BACKLOG)
        command = [_interpreter(), "-c", _BEGINNING, __package__, str(listener.fileno()), work.text()]
        try:
            process = subprocess.Popen(
                command, env=_environment(), stdin=subprocess.DEVNULL, pass_fds=[listener.fileno()],
                stdout=_ERRORS, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise NoEngineError(f"{command[0]} cannot be started for the engine process: {error}") from error
    threading.Thread(target=process.wait, daemon=True).start()  # or it stays on as a zombie when it ends
    return True


def _interpreter() -> str:
    """The Python that this process embeds: the server's stub is no Python by itself, and finds its own by PATH."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for prefix in (sys.prefix, sys.base_prefix):
        if os.access(path := Path(prefix, "bin", name), os.X_OK):
            return str(path)
    by_name = shutil.which(name)
    if by_name is None:
        raise NoEngineError(f"no {name} is on PATH for the engine process, which `process: shared` needs")
    return by_name


def _environment() -> dict[str, str]:
    """This process's own, with the modules that it finds."""
    runtime = str(Path(tritonkit_runtime.__file__).parent.parent)
    places = [runtime, *(place for place in sys.path if place and place != runtime)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places)}


def _same_user(connection: socket.socket) -> None:
    """The address has no owner in the file system: whoever listens there must be of this user."""
    user = wire.user_of(connection)
    if user != os.getuid():
        raise NoEngineError(f"user {user} listens at the address of the engine process, and this is {os.getuid()}")
