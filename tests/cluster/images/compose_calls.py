"""docker-compose of one project on the tests' engine, and a Prometheus to run in it."""

from __future__ import annotations

import json
import secrets
import subprocess
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker_engine import DockerEngine, program
from image_calls import environment, make_image

from deploy.compose.files import PORTS
from deploy.tools.process import find

PROMETHEUS = "tritonkit-test-prometheus:1"
# As Prometheus's own image is: its user, its folder and its entry point. The program is that of Debian's package.
_DOCKERFILE = """\
FROM {base}
COPY prometheus /bin/prometheus
RUN install -d -o nobody -g nogroup /prometheus
USER nobody
WORKDIR /prometheus
ENTRYPOINT ["/bin/prometheus"]
"""
_CALL_S = 300.0


def make_prometheus(engine: DockerEngine, base: str) -> str:
    """The name of an image that stands in for `prom/prometheus`, which is in a registry that tests do not ask."""
    binary = Path(find("prometheus", "apt-get install prometheus")).resolve()
    make_image(engine, PROMETHEUS, _DOCKERFILE.format(base=base.partition("@")[0]), {"prometheus": binary})
    return PROMETHEUS


@dataclass(frozen=True)
class Compose:
    """A project of docker-compose: the files of one folder, on any free ports of this machine."""

    engine: DockerEngine
    folder: Path
    name: str

    @classmethod
    def of(cls, engine: DockerEngine, folder: Path) -> Compose:
        """A project that nobody else has."""
        return cls(engine, folder, f"tk{secrets.token_hex(4)}")

    def call(self, *words: str, statuses: tuple[int, ...] = (0,), timeout_s: float = _CALL_S) -> str:
        """What the command prints on standard output."""
        command = [program("docker-compose", "docker-compose"), "--project-name", self.name, "--no-ansi", *words]
        done = subprocess.run(
            command, cwd=self.folder, env={**environment(self.engine), **dict.fromkeys(PORTS, "0")},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        assert done.returncode in statuses, f"{words}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout

    def address(self, service: str, port: int) -> str:
        """Where a service is published, as `host:port`."""
        return self.call("port", service, str(port)).strip()

    def container(self, service: str) -> Any:
        """The one container of a service."""
        labels = [f"com.docker.compose.project={self.name}", f"com.docker.compose.service={service}"]
        [found] = self.engine.client.containers.list(all=True, filters={"label": labels})
        return found

    def left(self) -> list[str]:
        """The names of everything that is there of the project."""
        ours = {"label": f"com.docker.compose.project={self.name}"}
        client = self.engine.client
        found = [*client.containers.list(all=True, filters=ours), *client.networks.list(filters=ours),
                 *client.volumes.list(filters=ours)]  # fmt: skip
        return [str(one.name) for one in found]


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(address: str) -> bool:
    """Whether Prometheus is ready. Until it listens, the engine's proxy takes connections, and drops them."""
    try:
        with _DIRECT.open(f"http://{address}/-/ready", timeout=30):
            return True
    except OSError:
        return False


def ask(address: str, path: str, **query: str) -> Any:
    """The data of an answer of Prometheus's API."""
    url = f"http://{address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with _DIRECT.open(url, timeout=30) as answer:
        told = json.load(answer)
    assert told["status"] == "success", told
    return told["data"]


def value(address: str, expression: str) -> float:
    """The sum of a query's series now; NaN where it has none."""
    found = ask(address, "query", query=f"sum({expression})")["result"]
    return float(found[0]["value"][1]) if found else float("nan")
