"""A real Prometheus that scrapes one server every second and evaluates rules as often."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from chart_tools import program
from story_tools import eventually

READY_S = 60.0


@dataclass(frozen=True)
class Prometheus:
    """Where one listens."""

    address: str

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The samples of an instant query."""
        found: list[dict[str, Any]] = self._get("query?" + urllib.parse.urlencode({"query": query}))["result"]
        return found

    def value(self, query: str) -> float | None:
        """The value of the one sample, None if there is none."""
        samples = self.ask(query)
        assert len(samples) <= 1, samples
        return float(samples[0]["value"][1]) if samples else None

    def broken_rules(self) -> list[str]:
        """Rules whose last evaluation failed, with why."""
        groups = self._get("rules")["groups"]
        return [
            f"{rule['name']}: {rule['lastError']}"
            for group in groups
            for rule in group["rules"]
            if rule.get("lastError")
        ]

    def _get(self, what: str) -> Any:
        with urllib.request.urlopen(f"http://{self.address}/api/v1/{what}", timeout=10) as reply:
            return json.load(reply)["data"]

    def ready(self) -> bool:
        """Whether it answers queries."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=5) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def prometheus(
    groups: Sequence[Mapping[str, Any]], target: str, labels: Mapping[str, str], folder: Path
) -> Iterator[Prometheus]:
    """One with `groups` as its rules that scrapes `target` (`host:port`) and puts `labels` on what it finds."""
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": list(groups)}), encoding="utf-8")
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yml")],
        "scrape_configs": [{"job_name": "triton", "static_configs": [{"targets": [target], "labels": dict(labels)}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    address = f"127.0.0.1:{_free_port()}"
    argv = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)
    server = Prometheus(address)
    try:
        up = eventually(lambda: server.ready() or process.poll() is not None, READY_S)
        assert up, "Prometheus is not ready"
        assert process.poll() is None, (folder / "prometheus.log").read_text(encoding="utf-8")
        yield server
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
