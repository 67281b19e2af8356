"""A pod's own command line starts the real server: the chart's rendered args, with paths and ports of this machine."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from story_tools import CLONE, gate, make_project, render_to

from deploy.embedded.installation import Installation
from deploy.embedded.ports import Ports, choose
from tritonkit import Pipeline

CHART = CLONE / "deploy" / "charts" / "triton"
KEY = "a-key-of-this-test"
OLD = {"image": {"release": "24.10", "allowVulnerable": True}, "gpu": {"count": 0}}
# What a pod has and this machine has not: the backends' folder, other ports, and a name of its own in /dev/shm.
READY_S, END_S = 90.0, 20.0


def rendered(values: Mapping[str, Any]) -> dict[str, Any]:
    """The container of the server, as the chart renders it."""
    argv = [str(Path(sys.executable).with_name("helm")), "template", "demo", str(CHART), "--values", "-"]
    done = subprocess.run(argv, input=json.dumps(values), capture_output=True, text=True, timeout=60, check=True)
    [workload] = [found for found in yaml.safe_load_all(done.stdout) if found and found["kind"] == "Deployment"]
    [container] = workload["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


@dataclass
class Pod:
    """A server that was started as a container of a pod would be."""

    process: subprocess.Popen[bytes]
    ports: Ports
    log: Path

    def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> int:
        """The status of a GET; 0 where nobody listens."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports.http}{path}", headers=dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


@contextmanager
def pod(container: Mapping[str, Any], repository: Path, folder: Path) -> Iterator[Pod]:
    """Runs the container's command until it answers its startup probe, and kills it at the end."""
    installation, ports = Installation.find(), choose(Ports())
    words = [word.replace("$(TRITON_RESTRICTED_KEY)", KEY) for word in container["args"]]
    here = {
        "--model-repository": repository, "--http-port": ports.http, "--grpc-port": ports.grpc,
        "--metrics-port": ports.metrics,
    }  # fmt: skip
    words = [f"{name}={here.get(name, value)}" if equals else name for name, equals, value in map(split, words)]
    beside = [
        f"--backend-directory={installation.backend_directory()}",
        f"--backend-config=python,shm-region-prefix-name=tritonkit_chart_{os.getpid()}_",
        "--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1",
    ]  # fmt: skip
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [installation.binary, *words, *beside], env=installation.variables(), cwd=folder,
            stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    found = Pod(process, ports, log)
    try:
        probe = container["startupProbe"]["httpGet"]["path"]
        deadline = time.monotonic() + READY_S
        while found.get(probe) != 200:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield found
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for segment in Path("/dev/shm").glob(f"tritonkit_chart_{os.getpid()}_*"):
            segment.unlink(missing_ok=True)


def split(word: str) -> tuple[str, str, str]:
    return word.partition("=")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as they are rendered for the embedded server."""
    folder = tmp_path_factory.mktemp("chart-args")
    return render_to(folder / "repository", make_project(folder / "project", copied=["digits.yaml"])).repository


@pytest.mark.server
def test_a_pods_command_line_serves_keeps_its_secrets_and_ends_when_told(digits: Path, tmp_path: Path) -> None:
    container = rendered(OLD)
    with pod(container, digits, tmp_path) as found:
        assert [found.get(container[f"{kind}Probe"]["httpGet"]["path"]) for kind in ("readiness", "liveness")] == [
            200
        ] * 2
        with Pipeline("digits", f"127.0.0.1:{found.ports.grpc}") as pipeline:
            answers = pipeline.infer(gate("digits").items[:8])
        assert all(answer.ok for answer in answers)

        key = {"tritonkit-key": KEY}
        for path in ("/v2/models/digits/config", "/v2/models/digits/stats", "/v2/logging", "/v2/trace/setting"):
            assert found.get(path) in (401, 403), path
            assert found.get(path, headers=key) == 200, path
        assert found.get("/v2/models/digits/ready") == 200

        os.kill(found.process.pid, signal.SIGTERM)
        assert found.process.wait(timeout=END_S) == 0
        assert KEY not in found.log.read_text()


@pytest.mark.server
def test_a_config_map_as_kubelet_lays_it_out_serves_by_its_own_mounts_and_not_as_a_whole(tmp_path: Path) -> None:
    """Kubelet puts the files into a dated folder, `..data` leads there, and the volume's root holds links."""
    values = yaml.safe_load((CHART / "ci" / "configmap-values.yaml").read_text()) | OLD
    container = rendered(values)
    volume = tmp_path / "volume"
    dated = volume / "..2026_01_01"
    for path, contents in values["modelRepository"]["configMap"]["files"].items():
        file = dated / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(contents))
    (volume / "..data").symlink_to(dated.name)
    models = [mount for mount in container["volumeMounts"] if mount["name"] == "model-repository"]
    mounted = tmp_path / "models"
    mounted.mkdir()
    for mount in models:
        (volume / mount["subPath"]).symlink_to(Path("..data") / mount["subPath"])
        shutil.copytree((volume / mount["subPath"]).resolve(), mounted / Path(mount["mountPath"]).name)
    with pod(container, mounted, tmp_path) as found:
        assert found.get("/v2/models/doubler/ready") == 200
    with pytest.raises(AssertionError, match=re.escape("..data")), pod(container, volume, tmp_path):
        pass
