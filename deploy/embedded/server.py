"""One embedded tritonserver: started, ready or failed with the cause, stopped, and never left behind."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from deploy.embedded import log, pools, processes, shared_memory, supervisor
from deploy.embedded.flags import ServerFlags, ServerNeeds, grpc_headers, http_headers
from deploy.embedded.installation import Installation
from deploy.embedded.plain_paths import plain
from deploy.embedded.ports import LOOPBACK, Ports, choose
from deploy.embedded.readiness import LogFollower, is_ready
from deploy.embedded.state import ServerRecord
from generator.problems import UserError

_PORT_ATTEMPTS = 3
_STOP_MARGIN_S = 2.0  # what the server may take beyond its own exit timeout
_REAP_MARGIN_S = 5.0  # what the supervisor may take after the server's end
_HINTS = {
    signal.SIGKILL: "signal 9 mostly means that memory ran out",
    # All seen with Triton 2.51; nothing in the log says so.
    signal.SIGFPE: "a client may have asked for the classes of a STRING output: see docs/how-to/errors.md",
    signal.SIGBUS: "a client may have shrunk shared memory that it had registered: see docs/how-to/errors.md",
    signal.SIGABRT: "a client may have sent a JSON tensor of a huge shape: see docs/how-to/errors.md",
}


class ServerFailedError(UserError):
    """The server did not start, or ended unasked. The message has the cause first, then the log's last lines."""

    def __init__(self, causes: Sequence[log.Cause], log_path: Path, last_lines: Sequence[str]) -> None:
        self.causes = tuple(causes)
        self.log_path = log_path
        self.last_lines = tuple(last_lines)
        parts = ["\n".join(map(str, causes))]
        if last_lines:
            parts.append("last lines of the server's log:\n" + "\n".join(f"  {line}" for line in last_lines))
        super().__init__("\n\n".join([*parts, f"the whole log: {log_path}"]))


class EmbeddedServer:
    """A tritonserver for one or more model repositories, as a context manager.

    `environment` is the Python environment whose python3 the server's Python models use (default: the
    running one). `ports` may name ports, 0 in it means a free one. Without `log_path` the log lies in a
    temporary file that a clean stop removes. `on_progress` gets one line each time something moves.
    """

    def __init__(
        self,
        repository: Path | Sequence[Path],
        needs: ServerNeeds,
        *,
        environment: Path | None = None,
        ports: Ports | None = None,
        log_path: Path | None = None,
        ready_timeout_s: float = 60.0,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        paths = [repository] if isinstance(repository, Path) else list(repository)
        self.repositories = tuple(path.resolve() for path in paths)
        self.needs = needs
        self.restricted_key = secrets.token_hex(16)
        self.ready_timeout_s = ready_timeout_s
        self._environment = environment
        self._wanted_ports = ports or Ports()
        self._ports = Ports()
        self._kept_log = log_path.resolve() if log_path else None
        self._log_path = self._kept_log
        self._report = on_progress or (lambda _line: None)
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._server: tuple[int, int] | None = None  # process id and start
        self._shm_prefix = ""
        self._directory: Path | None = None
        self._stop_asked = threading.Event()
        self._lock = threading.Lock()
        self._ready = False

    # What a client needs -------------------------------------------------------------------------------

    @property
    def http_address(self) -> str:
        """Host and port of the HTTP service."""
        return f"{LOOPBACK}:{self._ports.http}"

    @property
    def grpc_address(self) -> str:
        """Host and port of the gRPC service."""
        return f"{LOOPBACK}:{self._ports.grpc}"

    @property
    def metrics_address(self) -> str:
        """Host and port of the Prometheus metrics."""
        return f"{LOOPBACK}:{self._ports.metrics}"

    @property
    def http_headers(self) -> dict[str, str]:
        """The headers that open the restricted APIs over HTTP."""
        return http_headers(self.restricted_key)

    @property
    def grpc_headers(self) -> dict[str, str]:
        """The metadata that opens the restricted protocols over gRPC."""
        return grpc_headers(self.restricted_key)

    @property
    def pid(self) -> int:
        """The server's process id. Raises RuntimeError before it is started."""
        if self._server is None:
            raise RuntimeError("the server has not been started")
        return self._server[0]

    @property
    def shm_prefix(self) -> str:
        """What the names of its shared memory segments in /dev/shm start with."""
        return self._shm_prefix

    @property
    def log_path(self) -> Path:
        """The server's log. Raises RuntimeError before it is started if no path was given."""
        if self._log_path is None:
            raise RuntimeError("the server has not been started")
        return self._log_path

    def record(self, target: str = "") -> ServerRecord:
        """What other commands have to know to find this server."""
        pid, ticks = self._server or (self.pid, 0)
        repositories = tuple(map(str, self.repositories))
        addresses = (self.http_address, self.grpc_address, self.metrics_address)
        return ServerRecord(
            pid, ticks, *addresses, repositories, self.restricted_key, target, str(self.log_path),
            updatable=self.needs.control_mode == "explicit",
        )  # fmt: skip

    # Its life ------------------------------------------------------------------------------------------

    def start(self) -> EmbeddedServer:
        """Start the server and return when it is ready on all three ports.

        Raises InstallationError, SharedMemoryError, PortTakenError, UserError for a path that Triton cannot
        use, or ServerFailedError with the cause; nothing is left running then, nor after an interrupt.
        """
        if self._supervisor is not None:
            raise RuntimeError("the server was started before; make a new EmbeddedServer to start again")
        installation = Installation.find(self._environment)
        for prefix in supervisor.stale_prefixes():
            supervisor.remove_segments(prefix)
        pools.check(self.needs)
        shared_memory.check(self.needs.shm_bytes)
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._ports = choose(self._wanted_ports)
            try:
                self._launch(installation)
                self._wait_until_ready()
                return self
            except BaseException as error:
                self._end(grace_s=0)
                if self._kept_log or not isinstance(error, ServerFailedError):
                    self._remove_directory()
                taken = isinstance(error, ServerFailedError) and any(cause.kind == "port" for cause in error.causes)
                if not taken or self._wanted_ports != Ports() or attempt == _PORT_ATTEMPTS:
                    raise
            self._report("a free port was taken meanwhile, trying others")
        raise AssertionError("the last attempt returns or raises")

    def _launch(self, installation: Installation) -> None:
        # Known before it is made: an interrupt at any moment finds it.
        directory = self._directory = Path(tempfile.gettempdir()) / f"tritonkit-server-{secrets.token_hex(6)}"
        directory.mkdir(mode=0o700)
        working = directory / "cwd"
        working.mkdir()
        self._log_path = self._kept_log or directory / "server.log"
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        self._log_path.write_bytes(b"")
        links = directory / "links"
        repositories = tuple(plain(path, links) for path in self.repositories)
        backends = plain(installation.backend_directory(), links)
        self._shm_prefix, lock = supervisor.claim_prefix()
        flags = ServerFlags(
            self.needs,
            repositories,
            backends,
            installation.caches,
            self._ports,
            self._shm_prefix,
            self.restricted_key,
        )
        job = {
            "argv": [str(installation.binary), *flags.arguments()],
            "env": installation.variables(),
            "cwd": str(working),
            "log": str(self._log_path),
            "shm_prefix": self._shm_prefix,
            "lock_fd": lock,
            "owner": os.getpid(),
        }
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", supervisor.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[lock],
                start_new_session=True,
            )
        finally:
            os.close(lock)
        self._supervisor = process
        assert process.stdin is not None  # noqa: S101 - for the type checker
        assert process.stdout is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):  # it died; the next line says so
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            process.wait()  # it died before it had started the server
        else:
            self._server = (int(line), processes.start_ticks(int(line)) or 0)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.ready_timeout_s
        follower = LogFollower(self.log_path, self._report)
        pause_s = 0.01
        while True:
            ended = self.poll() is not None
            follower.read()
            if self._stop_asked.is_set():
                raise self._failure([log.Cause("", "the server was stopped while it started", kind="stopped")])
            if ended or log.hangs(follower.text):
                raise self._failure(log.causes(follower.text))
            if is_ready(self._ports, self.pid):
                self._ready = True
                return
            if time.monotonic() > deadline:
                raise self._failure([self._too_slow(follower)])
            self._stop_asked.wait(pause_s)
            pause_s = min(pause_s * 1.3, 0.1)

    def _too_slow(self, follower: LogFollower) -> log.Cause:
        waiting = ", ".join(sorted(follower.loading)) or "no model"
        sentence = f"the server was not ready after {self.ready_timeout_s:g} s; still loading: {waiting}"
        return log.Cause("", sentence, "give it more time, or look at what the model does in initialize()", "slow")

    def _failure(self, causes: Sequence[log.Cause]) -> ServerFailedError:
        if not causes:
            code = self.poll()
            died = f"was ended by signal {code - 128}" if code and code > 128 else f"ended with status {code}"
            hint = next((text for number, text in _HINTS.items() if code == 128 + number), "")
            causes = [log.Cause("", f"the server {died} without naming a cause", hint, "server")]
        return ServerFailedError(causes, self.log_path, log.tail(self.log_path))

    def poll(self) -> int | None:
        """The exit status if the server has ended (128 + N: by signal N), else None."""
        if self._supervisor is None:
            return None
        code = self._supervisor.poll()
        return 128 - code if code is not None and code < 0 else code

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the server to end by itself; its exit status. Raises TimeoutError."""
        if self._supervisor is None:
            raise RuntimeError("the server has not been started")
        try:
            self._supervisor.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"the server still runs after {timeout_s:g} s") from error
        return self.poll() or 0

    @property
    def failed(self) -> bool:
        """True if the server has ended and nobody asked it to."""
        return self.poll() is not None and not self._stop_asked.is_set()

    @property
    def failure(self) -> ServerFailedError | None:
        """Why the server has failed, read from its log; None if it has not."""
        if not self.failed:
            return None
        return self._failure(log.causes(log.read(self.log_path).decode(errors="replace")))

    def stop(self, grace_s: float | None = None) -> None:
        """Let requests in flight finish, unload the models and end the server; a second call does nothing.

        It is killed after `grace_s` seconds (default: its own exit timeout and a margin; 0: at once). A
        server that is still starting has nothing to finish and is killed at once.
        """
        clean = self._ready and not self.failed
        self._stop_asked.set()
        if grace_s is None:
            grace_s = self.needs.exit_timeout_s + _STOP_MARGIN_S
        self._end(grace_s if clean else 0)
        if clean or self._kept_log:
            self._remove_directory()

    def _remove_directory(self) -> None:
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _end(self, grace_s: float) -> None:
        """End the supervisor's whole family. Interrupted or not, the closed pipe ends it anyway."""
        process = self._supervisor
        if process is None:
            return
        with self._lock:
            if process.stdin is not None and not process.stdin.closed:
                try:
                    with contextlib.suppress(BrokenPipeError):
                        process.stdin.write(f"stop {grace_s}\n".encode())
                        process.stdin.flush()
                    self._await_end(process, grace_s + _REAP_MARGIN_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                finally:
                    with contextlib.suppress(BrokenPipeError):
                        process.stdin.close()
                    if process.stdout is not None:
                        process.stdout.close()
            self._bury()

    def _await_end(self, process: subprocess.Popen[bytes], timeout_s: float) -> None:
        """Wait for the supervisor's end; tell what holds it up, since idle clients can for the whole grace."""
        deadline = time.monotonic() + timeout_s
        told = False
        while True:
            try:
                process.wait(min(0.25, max(0.0, deadline - time.monotonic())))
                return
            except subprocess.TimeoutExpired:
                if time.monotonic() >= deadline:
                    raise
            connections = log.open_connections(self.log_path)
            if connections and not told:
                told = True
                most_s = self.needs.exit_timeout_s
                self._report(f"waiting for clients to close {connections} HTTP connections, at most {most_s} s")

    def _bury(self) -> None:
        """Finish the supervisor's work if it was killed itself: the server then got SIGTERM from the kernel."""
        if self._supervisor is None or self._supervisor.returncode is None or self._supervisor.returncode >= 0:
            return
        if self._server is not None and processes.lives(*self._server):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server[0], signal.SIGKILL)  # it leads a group of its own
        supervisor.remove_segments(self._shm_prefix)

    def __enter__(self) -> EmbeddedServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
