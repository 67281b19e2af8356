"""A real tritonserver with small hand-written models, and its addresses by protocol."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.flags import ServerNeeds
from deploy.embedded.server import EmbeddedServer
from tritonkit import Answer, AsyncPipeline, Pipeline

# Clients ask it for everything; what an embedded server keeps to itself is not what is tested here.
NEEDS = ServerNeeds(python_instances=6, most_instances_of_a_model=4, restricted_apis=())


@dataclass(frozen=True)
class Server:
    """A running tritonserver."""

    pid: int
    addresses: dict[str, str]

    def kill(self) -> None:
        """Ends it as memory that runs out does."""
        os.kill(self.pid, signal.SIGKILL)


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    """A server of a copy of `repository/`; nothing is in flight at a test's end, so it is ended at once."""
    shutil.copytree(Path(__file__).parent / "repository", folder / "repository")  # Python leaves files in it
    server = EmbeddedServer(folder / "repository", NEEDS, log_path=folder / "log")
    try:
        server.start()
        yield Server(server.pid, {"grpc": server.grpc_address, "http": server.http_address})
    finally:
        server.stop(grace_s=0)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests that leave it as it is."""
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server for one test that kills or stops it."""
    with running_server(tmp_path) as running:
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
