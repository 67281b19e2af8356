"""A real tritonserver with small hand-written models, and its addresses by protocol."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tritonkit import Answer, AsyncPipeline, Pipeline

HERE = Path(__file__).parent
START_S, STOP_S = 60.0, 15.0


@dataclass(frozen=True)
class Server:
    """A running tritonserver."""

    process: subprocess.Popen[bytes]
    addresses: dict[str, str]


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [s.getsockname()[1] for s in sockets]
    for each in sockets:
        each.close()
    return ports


@contextlib.contextmanager
def running_server(tmp: Path, prefix: str) -> Iterator[Server]:
    site = Path(sysconfig.get_paths()["platlib"])
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    bundle = site / "pytriton" / "tritonserver"
    shutil.copytree(bundle / "backends", tmp / "backends")
    stub = bundle / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy2(stub, tmp / "backends" / "python" / stub.name)
    shutil.copytree(HERE / "repository", tmp / "repository")
    (tmp / "cwd").mkdir()
    grpc, http = free_ports(2)
    libraries = [str(site / "nvidia_pytriton.libs"), str(sysconfig.get_config_var("LIBDIR"))]
    environment = dict(os.environ, LD_LIBRARY_PATH=os.pathsep.join(libraries))
    environment["PATH"] = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]])
    argv = [
        str(bundle / "bin" / "tritonserver"),
        f"--model-repository={tmp / 'repository'}",
        f"--backend-directory={tmp / 'backends'}",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
        f"--grpc-port={grpc}",
        f"--http-port={http}",
        "--grpc-address=127.0.0.1",
        "--http-address=127.0.0.1",
        "--allow-metrics=false",
        "--exit-timeout-secs=1",
    ]
    with (tmp / "log").open("wb") as log:
        process = subprocess.Popen(
            argv, cwd=tmp / "cwd", env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_ready(process, f"http://127.0.0.1:{http}/v2/health/ready", tmp / "log")
        yield Server(process, {"grpc": f"localhost:{grpc}", "http": f"localhost:{http}"})
    finally:
        process.send_signal(signal.SIGCONT)  # a test may have stopped it
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with contextlib.suppress(ProcessLookupError):  # a killed server leaves its stubs behind
            os.killpg(process.pid, signal.SIGKILL)
        for segment in Path("/dev/shm").glob(f"{prefix}*"):
            segment.unlink()


def wait_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
    pytest.fail(f"tritonserver is not ready:\n{log.read_text(errors='replace')[-4000:]}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests that leave it as it is."""
    with running_server(tmp_path_factory.mktemp("server"), f"client_{os.getpid()}_") as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server for one test that kills or stops it."""
    with running_server(tmp_path, f"client_own_{os.getpid()}_") as running:
        yield running


@dataclass(frozen=True)
class Caller:
    """One of the four ways to call a pipeline."""

    protocol: str
    asynchronous: bool

    def infer(self, name: str, address: str, items: Iterable[Any], **options: Any) -> list[Answer]:
        options["protocol"] = self.protocol
        if not self.asynchronous:
            with Pipeline(name, address, **options) as pipeline:
                return pipeline.infer(items)

        async def call() -> list[Answer]:
            async with AsyncPipeline(name, address, **options) as pipeline:
                return await pipeline.infer(items)

        return asyncio.run(call())


CALLERS = [Caller(protocol, asynchronous) for protocol in ("grpc", "http") for asynchronous in (False, True)]


@pytest.fixture(params=CALLERS, ids=lambda c: f"{c.protocol}-{'async' if c.asynchronous else 'sync'}")
def caller(request: pytest.FixtureRequest) -> Caller:
    chosen: Caller = request.param
    return chosen


@pytest.fixture
def callers() -> list[Caller]:
    return CALLERS
