"""One pod as a process of this machine, with an address of its own; started, probed and ended as a kubelet does."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deploy.embedded import supervisor
from deploy.embedded.installation import Installation
from deploy.embedded.plain_paths import plain

from .pod import Pod, Probe

_KILLED = 128 + 9
_LEAST_PROBES = 60  # a pod that is not ready is asked on and on; this ends the experiment


class EndedError(Exception):
    """The server has ended while it started."""


class PodProcess:
    """A pod at `address` (of 127.0.0.0/8), on the ports that all pods have. Its log stays in `folder`."""

    def __init__(self, pod: Pod, address: str, folder: Path) -> None:
        self.pod, self.address = pod, address
        self.log = folder / f"{address}.log"
        self._installation = Installation.find()
        self._directory = Path(tempfile.mkdtemp(prefix="tritonkit-pod-"))
        prefix, lock = supervisor.claim_prefix()
        working = self._directory / "cwd"
        working.mkdir()
        job = {
            "argv": self._argv(prefix), "env": self._installation.variables(), "cwd": str(working),
            "log": str(self.log), "shm_prefix": prefix, "lock_fd": lock, "owner": os.getpid(),
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", supervisor.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, pass_fds=[lock], start_new_session=True,
        )  # fmt: skip
        os.close(lock)
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        assert self._process.stdout is not None  # noqa: S101
        self._stdin = self._process.stdin
        self._stdin.write(json.dumps(job).encode() + b"\n")
        self._stdin.flush()
        self.pid = int(self._process.stdout.readline())

    def _argv(self, shm_prefix: str) -> list[str]:
        """The pod's own words; then what a network of its own and the image's paths stand for."""
        _, *words = self.pod.command
        here = [f"--{service}-address={self.address}" for service in ("http", "grpc", "metrics")]
        backends = plain(self._installation.backend_directory(), self._directory / "links")
        return [
            str(self._installation.binary), *words, *here, f"--backend-directory={backends}",
            f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        ]  # fmt: skip

    @property
    def log_end(self) -> str:
        """The last of what the server said."""
        return self.log.read_text(errors="replace")[-2000:]

    @property
    def ended(self) -> int | None:
        """Its exit status, once it has ended; 137: it was killed."""
        return self._process.poll()

    def becomes_ready(self) -> float:
        """Waits for the startup probe, then for the readiness probe, at their pace: how long it took, in seconds.

        Raises EndedError when the server ends, SystemExit when a probe fails too often; both with the end of its log.
        """
        began = time.monotonic()
        for probe in (self.pod.startup, self.pod.readiness):
            for _ in range(max(probe.failures, _LEAST_PROBES)):
                if self.ended is not None:
                    raise EndedError(f"the server ended with {self.ended}:\n{self.log_end}")
                if self.answers(probe):
                    break
                time.sleep(probe.period_s)
            else:
                raise SystemExit(f"{probe.path} failed {probe.failures} times:\n{self.log_end}")
        return time.monotonic() - began

    def answers(self, probe: Probe) -> bool:
        """Asks once, over a connection of its own as the kubelet does."""
        connection = http.client.HTTPConnection(self.address, self.pod.ports["http"], timeout=probe.timeout_s)
        try:
            connection.request("GET", probe.path, headers={"Connection": "close"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def delete(self) -> dict[str, float | bool]:
        """preStop, SIGTERM, and SIGKILL when the grace period, which began with preStop, is over. What it took."""
        began = time.monotonic()
        time.sleep(min(self.pod.pre_stop_s, self.pod.grace_s))
        signalled = time.monotonic()
        self.end(max(0.0, self.pod.grace_s - (signalled - began)))
        exit_s = time.monotonic() - signalled
        return {"pre_stop_s": signalled - began, "exit_s": exit_s, "killed": self.ended == _KILLED}

    def end(self, grace_s: float = 0.0) -> None:
        """SIGTERM, and SIGKILL after so many seconds (0: at once); returns when nothing of it is left."""
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._stdin.write(f"stop {grace_s}\n".encode())
            self._stdin.flush()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        shutil.rmtree(self._directory, ignore_errors=True)
