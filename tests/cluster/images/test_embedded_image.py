"""The embedded image, built from nothing and run: what a container of it answers, may do, and how it goes."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from docker_engine import DockerEngine
from image_calls import CLONE, KEY, command, environment, get, wait_until_healthy
from scanner import scanner

from generator.gate_set import read_gate_set
from generator.plan import Tensor
from tritonkit import Pipeline

CLOSED = ("/v2/models/digits/config", "/v2/models/stats", "/v2/systemsharedmemory/status", "/v2/logging")


def test_what_was_built_says_what_it_is(built: dict[str, Any], engine: DockerEngine, base: str) -> None:
    about = engine.client.images.get(built["image"]).attrs
    assert about["Id"] == built["id"]
    assert about["Config"]["Labels"].items() >= built["labels"].items()
    assert built["labels"]["org.opencontainers.image.base.digest"] == base.partition("@")[2]
    assert about["Config"]["User"] == "1000:1000"
    assert about["Config"]["Entrypoint"] == ["/opt/tritonkit/start"]
    assert KEY not in json.dumps(about)


def test_the_bill_of_materials_is_of_what_is_installed(built: dict[str, Any], project: Path) -> None:
    text = (project / "sbom.json").read_text()
    found = {component["name"]: component.get("version") for component in json.loads(text)["components"]}
    assert found["numpy"] == "1.26.4"
    assert found["nvidia-pytriton"] == "0.7.0"
    assert found["libc6"].startswith("2.36")
    # By these scanners find the holes that are known of Debian's packages.
    assert found["debian"] == "12"
    assert any("&upstream=openssl" in component.get("purl", "") for component in json.loads(text)["components"])
    assert "/models/digits_engine/1/model.onnx" in found
    assert "pip" not in found
    # The judge is the library whose business these documents are.
    judge = (
        "import sys; from cyclonedx.validation.json import JsonStrictValidator; from cyclonedx.schema import SchemaVersion\n"
        "wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read()); sys.exit(wrong and str(wrong))"
    )
    done = subprocess.run([scanner() / "bin" / "python", "-c", judge], input=text, text=True, capture_output=True,
                          timeout=120, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@dataclass(frozen=True)
class Served:
    """A running `tritonkit deploy image run`."""

    process: subprocess.Popen[str]
    container: str
    http: str
    grpc: str


@pytest.fixture(scope="module")
def served(built: dict[str, Any], engine: DockerEngine, project: Path) -> Iterator[Served]:
    ports = [word for name in ("http", "grpc", "metrics") for word in (f"--{name}-port", "0")]
    log = project / "run.err"
    with log.open("w") as err:
        process = subprocess.Popen(
            command("image", "run", "specs/digits.yaml", "--embedded", "--json", *ports),
            cwd=project, env=environment(engine), stdout=subprocess.PIPE, stderr=err, text=True, start_new_session=True,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        said = json.loads(line)
        yield Served(process, said["container"], said["http"], said["grpc"])
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        status = process.wait(120)
        if process.stdout is not None:
            process.stdout.close()
        assert status == 0, log.read_text()
        assert engine.client.containers.list(all=True, filters={"label": "io.tritonkit.run"}) == []
        assert "stopping: requests in flight finish first" in log.read_text()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_it_answers_right(served: Served, protocol: str) -> None:
    gate = read_gate_set(
        CLONE / "data" / "digits-gate.npz", [Tensor("image", "STRING", (1,), encoded=True)], "png"
    )  # fmt: skip
    wanted = [str(label) for label in gate.labels[:64].reshape(-1)]
    with Pipeline("digits", served.http if protocol == "http" else served.grpc, protocol=protocol) as digits:
        answers = digits.infer([item["image"] for item in gate.items[:64]])
    right = sum(answer.label[0] == label for answer, label in zip(answers, wanted, strict=True))
    assert right >= 62


def test_it_may_do_nothing_but_serve(served: Served, engine: DockerEngine) -> None:
    container = engine.client.containers.get(served.container)
    assert container.attrs["State"]["Health"]["Status"] == "healthy"
    host = container.attrs["HostConfig"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["Privileged"]) == (True, ["ALL"], False)
    assert "no-new-privileges:true" in host["SecurityOpt"]
    published = [entry for entries in container.attrs["NetworkSettings"]["Ports"].values() for entry in entries or ()]
    assert {entry["HostIp"] for entry in published} == {"127.0.0.1"}
    assert container.exec_run("id -u").output == b"1000\n"
    status = container.exec_run("cat /proc/1/status").output.decode()
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert lines["Name"] == "tritonserver"
    assert {lines[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {""}
    assert lines["NoNewPrivs"] == "1"
    assert container.exec_run(["sh", "-c", "find / -xdev -type f -perm /6000 2>/dev/null"]).output == b""
    assert container.exec_run("touch /models/x").exit_code != 0
    assert container.exec_run("touch /opt/x").exit_code != 0


@pytest.mark.parametrize("path", CLOSED)
def test_restricted_endpoints_want_the_key(served: Served, path: str) -> None:
    assert get(served.http, path) == 403
    assert get(served.http, path, {"tritonkit-key": "another"}) == 403
    assert get(served.http, path, {"tritonkit-key": KEY}) == 200


def test_the_key_is_in_no_command_line(served: Served, engine: DockerEngine) -> None:
    container = engine.client.containers.get(served.container)
    assert KEY not in json.dumps([container.attrs["Args"], container.attrs["Config"]["Cmd"]])
    assert KEY not in Path(f"/proc/{served.process.pid}/cmdline").read_text()
    stubs = container.exec_run(["sh", "-c", "cat /proc/[0-9]*/environ"]).output
    assert KEY.encode() not in stubs.replace(f"TRITON_RESTRICTED_KEY={KEY}".encode(), b"", 1)
    assert KEY.encode() not in container.logs()


def test_sigterm_lets_requests_in_flight_finish(built: dict[str, Any], engine: DockerEngine) -> None:
    """Requests that were sent before the signal are all answered, and the server's status is 0."""
    container = engine.client.containers.run(
        built["image"], detach=True, read_only=True, cap_drop=["ALL"], shm_size=64 << 20, tmpfs={"/tmp": ""},
        security_opt=["no-new-privileges:true"], ports={"8000/tcp": ("127.0.0.1", None)},
    )  # fmt: skip
    try:
        wait_until_healthy(container)
        port = container.attrs["NetworkSettings"]["Ports"]["8000/tcp"][0]["HostPort"]
        began, failed, answered = [], [], []
        stop = threading.Event()

        def send() -> None:
            while not stop.is_set():
                at = time.monotonic()
                began.append(at)
                try:
                    (answered if get(f"127.0.0.1:{port}", "/v2/models/digits/ready") == 200 else failed).append(at)
                except OSError:
                    failed.append(at)

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(answered) < 400:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        signalled = time.monotonic()
        container.kill("SIGTERM")
        status = container.wait(timeout=60)["StatusCode"]
        stop.set()
        for thread in threads:
            thread.join(30)
        assert [at for at in failed if at < signalled] == []
        assert status == 0, container.logs(tail=20).decode()
    finally:
        container.remove(force=True)
