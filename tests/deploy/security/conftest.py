"""Two real servers for all tests here: one as it is by default, and one that loads models when it is asked to."""

from __future__ import annotations

import http.client
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from deploy.embedded.flags import ServerNeeds
from deploy.embedded.server import EmbeddedServer

ROOT = Path(__file__).parents[3]
ANSWERS_WITHIN_S = 20.0


def chart_apis() -> list[str]:
    """The APIs that the chart restricts unless it is told otherwise."""
    values = yaml.safe_load((ROOT / "deploy" / "charts" / "triton" / "values.yaml").read_text())
    apis: list[str] = values["restrictedApis"]["apis"]
    return apis


@dataclass(frozen=True)
class Guarded:
    """A server that restricts what the chart restricts. `folder` has its repository, and a model outside of that."""

    server: EmbeddedServer
    folder: Path

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Status and body of one HTTP request over a connection of its own."""
        connection = http.client.HTTPConnection(self.server.http_address, timeout=ANSWERS_WITHIN_S)
        try:
            connection.request(method, path, body, {**(headers or {}), "Connection": "close"})
            reply = connection.getresponse()
            return reply.status, reply.read().decode(errors="replace")
        finally:
            connection.close()

    def serves(self) -> bool:
        """Whether it lives and answers an inference."""
        body = b'{"inputs":[{"name":"data","datatype":"BYTES","shape":[1,1],"data":["x"]}]}'
        return self.ask("POST", "/v2/models/echo/infer", body)[0] == 200


@contextmanager
def _guarded(folder: Path, needs: ServerNeeds) -> Iterator[Guarded]:
    echo = ROOT / "tests" / "tritonkit" / "client" / "repository" / "echo"
    shutil.copytree(echo, folder / "repository" / "echo")
    shutil.copytree(echo, folder / "outside")
    server = EmbeddedServer(folder / "repository", needs, log_path=folder / "log")
    try:
        server.start()
        yield Guarded(server, folder)
    finally:
        server.stop(grace_s=0)


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A server that loads its models once, and logs much."""
    needs = ServerNeeds(restricted_apis=tuple(chart_apis()), log_verbose=1)
    with _guarded(tmp_path_factory.mktemp("guarded"), needs) as found:
        yield found


@pytest.fixture(scope="session")
def updatable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A server that loads models for whoever has its key."""
    needs = ServerNeeds(restricted_apis=tuple(chart_apis()), control_mode="explicit", load_models=("*",))
    with _guarded(tmp_path_factory.mktemp("updatable"), needs) as found:
        yield found


@pytest.fixture
def chart_restricts() -> list[str]:
    """The APIs that the chart restricts."""
    return chart_apis()
