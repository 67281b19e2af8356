"""docker compose, by the oldest one that the files are written for: a server, Prometheus and load, up and gone again."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from compose_calls import Compose, answers, ask, make_prometheus, value
from docker_engine import DockerEngine, program
from image_calls import KEY, command, environment, get

WITHIN_S = 120.0
T = TypeVar("T")
REQUESTS = 'nv_inference_request_success{model="digits"}'


@pytest.fixture(scope="module")
def files(engine: DockerEngine, project: Path, base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `tritonkit deploy compose` writes."""
    folder = tmp_path_factory.mktemp("compose") / "out"
    words = ["compose", "specs/digits.yaml", "--embedded", "-o", str(folder), "--prometheus-image"]
    done = subprocess.run(
        command(*words, make_prometheus(engine, base)), cwd=project, env=environment(engine), capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_compose_takes_its_file(files: Path) -> None:
    compose = program("docker-compose", "docker-compose")
    done = subprocess.run(
        [compose, "-f", files / "compose.yaml", "--profile", "load", "config"], capture_output=True,
        text=True, timeout=60, check=False, env={**os.environ, "TRITON_RESTRICTED_KEY": "k"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert set(services) == {"server", "prometheus", "load"}
    assert services["server"]["environment"] == {"TRITON_RESTRICTED_KEY": "k"}
    assert services["prometheus"]["depends_on"] == {"server": {"condition": "service_healthy"}}
    assert services["prometheus"]["ports"] == ["127.0.0.1:9090:9090/tcp"]


@dataclass(frozen=True)
class Up:
    """A server and its Prometheus that run, and what the load generator's run says."""

    compose: Compose
    prometheus: str
    before: float
    run: dict[str, Any]


@pytest.fixture(scope="module")
def up(files: Path, engine: DockerEngine, built: dict[str, Any], load: dict[str, Any]) -> Iterator[Up]:
    compose = Compose.of(engine, files)
    try:
        compose.call("up", "-d", "server", "prometheus")
        prometheus = compose.address("prometheus", 9090)
        until(lambda: answers(prometheus), bool)
        before = until(lambda: value(prometheus, REQUESTS), lambda count: count >= 0)
        # What its image does, for a shorter time; what a busy machine can hold (status 1) is no matter here.
        usual = engine.client.images.get(load["image"]).attrs["Config"]["Cmd"]
        shorter = ["--duration", "3", "--rate", "20", "--p99-ms", "2000", "--json"]
        run = json.loads(compose.call("run", "--rm", "-T", "load", *usual, *shorter, statuses=(0, 1)))
        yield Up(compose, prometheus, before, run)
        compose.call("stop")
        # Both have ended by themselves, within the time that they are given.
        ended = {name: compose.container(name).attrs["State"]["ExitCode"] for name in ("server", "prometheus")}
        assert ended == {"server": 0, "prometheus": 0}
    finally:
        compose.call("down", "--volumes")
    assert compose.left() == []


def until(look: Callable[[], T], is_so: Callable[[T], bool]) -> T:
    deadline = time.monotonic() + WITHIN_S
    while not is_so(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    return found


def test_the_load_generator_sends_its_requests_and_ends(up: Up) -> None:
    assert (up.run["pipeline"], set(up.run["outcomes"])) == ("digits", {"ok"})
    assert up.run["requests"] >= 30
    # Its container is gone; its results are in a volume.
    assert sorted(up.compose.left()) == sorted(
        [up.compose.container("server").name, up.compose.container("prometheus").name, f"{up.compose.name}_default",
         f"{up.compose.name}_prometheus", f"{up.compose.name}_results"]
    )  # fmt: skip
    results = up.compose.engine.client.volumes.get(f"{up.compose.name}_results").attrs["Mountpoint"]
    assert json.loads((Path(results) / "run" / "run.json").read_text())["requests"] == up.run["requests"]


def test_prometheus_sees_the_requests(up: Up) -> None:
    assert value(up.prometheus, 'up{job="triton"}') == 1
    sent = up.run["requests"]
    until(lambda: value(up.prometheus, REQUESTS), lambda count: count >= up.before + sent)


def test_prometheus_evaluates_every_rule(up: Up, files: Path) -> None:
    wanted = yaml.safe_load((files / "rules.yml").read_text())["groups"]

    def rules() -> dict[str, list[tuple[str, str]]]:
        groups = ask(up.prometheus, "rules")["groups"]
        return {group["name"]: [(rule["name"], rule["health"]) for rule in group["rules"]] for group in groups}

    until(rules, lambda found: all(health != "unknown" for rules in found.values() for _, health in rules))
    assert rules() == {
        group["name"]: [(rule.get("alert") or rule["record"], "ok") for rule in group["rules"]] for group in wanted
    }
    # A rule that has nothing to say is evaluated too: this one has.
    recorded = next(rule["record"] for group in wanted for rule in group["rules"] if "record" in rule)
    until(lambda: value(up.prometheus, recorded), lambda number: number >= 0)


def test_the_containers_are_locked(up: Up) -> None:
    for service in ("server", "prometheus"):
        container = up.compose.container(service)
        host = container.attrs["HostConfig"]
        assert (host["ReadonlyRootfs"], host["CapDrop"], host["Privileged"]) == (True, ["ALL"], False)
        published = [one for many in container.attrs["NetworkSettings"]["Ports"].values() for one in many or ()]
        assert {one["HostIp"] for one in published} == {"127.0.0.1"}


def test_the_key_of_the_environment_opens_the_restricted_apis(up: Up) -> None:
    address = up.compose.address("server", 8000)
    assert get(address, "/v2/logging") == 403
    assert get(address, "/v2/logging", {"tritonkit-key": KEY}) == 200
