"""The parts of the rolling restart on processes, and that page and chart say what the result says."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import threading
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import reliability as script
from reliability_systems.experiment import Drain
from reliability_systems.pod import pod_of
from reliability_systems.proxy import Endpoints, Names

ROOT = Path(__file__).resolve().parents[2]


def workload(pre_stop: dict[str, Any] | None) -> dict[str, Any]:
    """A Deployment as the chart renders it, as far as it is read."""
    probe = {"httpGet": {"path": "/v2/health/ready"}, "periodSeconds": 5, "timeoutSeconds": 4, "failureThreshold": 3}
    container = {
        "command": ["tritonserver"],
        "args": ["--http-restricted-api=a:k=$(KEY)", "--exit-timeout-secs=34", "--grpc-max-connection-age=5000"],
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "KEY", "valueFrom": {}}],
        "ports": [{"name": "http", "containerPort": 8000}],
        "startupProbe": probe, "readinessProbe": probe,
        **({"lifecycle": {"preStop": pre_stop}} if pre_stop else {}),
    }  # fmt: skip
    spec = {"terminationGracePeriodSeconds": 49, "containers": [container]}
    rolling = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    return {"spec": {"replicas": 2, "strategy": rolling, "template": {"spec": spec}}}


@pytest.mark.parametrize(
    ("pre_stop", "seconds"),
    [({"sleep": {"seconds": 10}}, 10), ({"exec": {"command": ["sleep", "12"]}}, 12), (None, 0)],
)
def test_a_pod_is_read_from_what_is_rendered(pre_stop: dict[str, Any] | None, seconds: float) -> None:
    pod = pod_of(workload(pre_stop), {"KEY": "secret"})
    assert pod.command[:2] == ("tritonserver", "--http-restricted-api=a:k=secret")
    assert (pod.pre_stop_s, pod.exit_timeout_s, pod.grace_s) == (seconds, 34, 49)
    assert (pod.connection_age_ms, pod.replicas, pod.surge, pod.unavailable) == (5000, 2, 1, 0)
    assert (pod.startup.period_s, pod.startup.timeout_s, pod.startup.failures) == (5, 4, 3)
    changed = Drain(pre_stop_s=0, exit_timeout_s=1, grace_s=2).applied(pod)
    assert (changed.pre_stop_s, changed.exit_timeout_s, changed.grace_s) == (0, 1, 2)
    assert Drain().applied(pod) == pod


def test_another_pre_stop_cannot_be_played() -> None:
    with pytest.raises(SystemExit, match="only `sleep SECONDS` can be played"):
        pod_of(workload({"exec": {"command": ["sh", "-c", "sleep 3"]}}), {})


def test_the_name_server_tells_the_addresses_of_now() -> None:
    with Names() as names, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        host, _, port = names.address.rpartition(":")

        def look_up(kind: int) -> list[str]:
            question = b"\x04pods\x04test\x00" + struct.pack("!HH", kind, 1)
            client.sendto(struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + question, (host, int(port)))
            answer = client.recv(4096)
            number, flags, _, count = struct.unpack("!HHHH", answer[:8])
            assert (number, flags & 0x800F) == (7, 0x8000)
            records = answer[12 + len(question) :]
            return [socket.inet_ntoa(records[16 * each + 12 : 16 * each + 16]) for each in range(count)]

        assert look_up(1) == []
        names.add("127.77.0.2")
        names.add("127.77.0.3")
        assert look_up(1) == ["127.77.0.2", "127.77.0.3"]
        names.remove("127.77.0.2")
        assert look_up(1) == ["127.77.0.3"]
        assert look_up(28) == [], "no address of IPv6"


class Heard:
    """A follower that remembers."""

    def __init__(self) -> None:
        self.what: list[str] = []
        self.changed = threading.Event()

    def add(self, address: str) -> None:
        self.what.append(f"+{address}")

    def remove(self, address: str) -> None:
        self.what.append(f"-{address}")
        self.changed.set()


def test_endpoints_are_heard_of_late() -> None:
    heard = Heard()
    endpoints = Endpoints([heard], delay_s=0.2)
    endpoints.add("a", at_once=True)
    endpoints.remove("a")
    assert heard.what == ["+a"]
    assert heard.changed.wait(20)
    endpoints.settle()
    assert heard.what == ["+a", "-a"]


def test_the_result_proves_the_claim() -> None:
    """Of connections that live for ever behind a proxy: with the chart's default of 5 s it lost some there."""
    result = json.loads((ROOT / "benchmarks" / "reliability.json").read_text())
    lost = {run["name"]: sum(of["lost"] for of in run["protocols"].values()) for run in result["proxied"]}
    held = {script.NO_AGE, "the chart's drain, a connection a request"}
    assert set(lost) == {*script.LONG, *script.PROXIED}
    assert {name for name, count in lost.items() if not count} == held, "and every other variant lost some"
    long_run = result["proxied"][0]
    assert all(of["requests"] >= 20_000 for of in long_run["protocols"].values())
    assert len(long_run["rollouts"]) >= 3
    assert (result["seed"], long_run["name"]) == (script.SEED, script.NO_AGE)
    assert long_run["connection_age_ms"] is None
    assert next(run for run in result["proxied"] if run["connection_age_ms"])["connection_age_ms"] == 5000
    direct = {run["name"]: run for run in result["direct"]}
    assert direct["connections live 5 s"]["calls"]["lost"] == 0
    assert min(direct["connections live 5 s"]["answered_by_the_new_pods"]) > 0
    assert direct["connections live 30 s"]["calls"]["lost"] > 0
    text = json.dumps(result)
    assert "the-key-of-this-experiment" not in text
    assert "/tmp" not in text


def test_the_page_and_the_chart_are_of_the_result() -> None:
    result = json.loads((ROOT / "benchmarks" / "reliability.json").read_text())
    page = (ROOT / "benchmarks" / "reliability.md").read_text()
    for table in script.tables(result).values():
        assert "\n".join(table) in page
    ET.parse(ROOT / "benchmarks" / "reliability.svg")


def test_every_run_says_how_it_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script.sys, "argv", ["/somewhere/reliability.py", "--rate", "80", "--only", "the chart's"])
    told = script._tell({"name": "n", "calls": {"lost": 0, "requests": 1}, "rollouts": [{"took_s": 1.0}]})
    assert told["command_line"] == """python benchmarks/reliability.py --rate 80 --only 'the chart'"'"'s'"""
    assert script.about()["command_line"] == told["command_line"]
    assert len(told["load_average"]) == 3


def test_some_runs_can_be_measured_again() -> None:
    names = list(script.PROXIED)
    before = {"seed": 1, "proxied": [{"name": names[1], "n": 1}, {"name": "no more"}], "direct": [], "stopping": [1]}
    after = script.together(
        before, {"proxied": [{"name": names[1], "n": 2}, {"name": names[0], "n": 3}], "direct": []}
    )
    assert after["proxied"] == [{"name": names[0], "n": 3}, {"name": names[1], "n": 2}]
    assert (after["seed"], after["stopping"]) == (1, [1])


def test_without_the_proxy_the_reason_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from reliability_systems import proxy

    monkeypatch.setattr(proxy.shutil, "which", lambda *_args, **_named: None)
    with pytest.raises(SystemExit, match="apt-get install haproxy"):
        proxy.HAProxy(tmp_path, {})


def test_a_chart_that_refuses_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from reliability_systems import pod

    done = subprocess.CompletedProcess([], 1, "", "Error: drain.exitTimeoutSeconds is too small")
    monkeypatch.setattr(pod.subprocess, "run", lambda *_args, **_named: done)
    with pytest.raises(SystemExit, match="exitTimeoutSeconds is too small"):
        pod.rendered([tmp_path / "values.yaml"], "")
