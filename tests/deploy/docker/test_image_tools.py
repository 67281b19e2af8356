"""The programs that go into images: each is run here as it is run there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deploy.docker import sbom
from deploy.docker.container import Ports, options, stop_timeout_s
from deploy.docker.context import TOOLS
from deploy.docker.request import Request

FLAG = "--http-restricted-api=a,b:name=$(TRITON_RESTRICTED_KEY)"


@pytest.fixture
def started(tmp_path: Path) -> dict[str, str]:
    """An environment whose tritonserver prints its process id, its arguments and the key in its environment."""
    server = tmp_path / "tritonserver"
    server.write_text('#!/bin/sh\nprintf "%s\\n" "$$" "${TRITON_RESTRICTED_KEY-unset}" "$@"\n')
    server.chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


def start(environment: dict[str, str], *words: str) -> list[str]:
    with subprocess.Popen([TOOLS / "start", *words], env=environment, stdout=subprocess.PIPE, text=True) as process:
        out, _ = process.communicate(timeout=30)
    pid, key, *arguments = out.splitlines()
    assert process.returncode == 0
    assert int(pid) == process.pid  # it has become the server
    assert key == "unset"  # what the server starts does not get it
    return arguments


def test_the_key_is_put_where_the_flags_name_it(started: dict[str, str]) -> None:
    words = ["--a b", FLAG, "--empty=", "$(OTHER)", "*", "back\\slash"]
    found = start({**started, "TRITON_RESTRICTED_KEY": "k'e\"y $x *"}, *words)
    assert found == [
        "--a b",
        "--http-restricted-api=a,b:name=k'e\"y $x *",
        "--empty=",
        "$(OTHER)",
        "*",
        "back\\slash",
    ]


def test_without_a_key_it_is_one_that_nobody_knows(started: dict[str, str]) -> None:
    keys = {start(started, FLAG)[0].rpartition("=")[2] for _ in range(2)}
    assert len(keys) == 2
    assert all(len(key) == 32 for key in keys)


@pytest.mark.parametrize(("status", "ends"), [(200, 0), (400, 1), (503, 1)])
def test_the_health_check_asks_the_server(status: int, ends: int) -> None:
    asked: list[str] = []

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        text = (TOOLS / "healthy.py").read_text().replace("127.0.0.1:8000", f"127.0.0.1:{server.server_port}")
        done = subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, timeout=30, check=False)
        thread.join()
    assert (done.returncode, asked) == (ends, ["/v2/health/ready"])


def test_the_health_check_without_a_server() -> None:
    text = (TOOLS / "healthy.py").read_text().replace("127.0.0.1:8000", "127.0.0.1:9")
    done = subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("not ready: ")


def test_the_bill_is_of_what_is_installed(embedded: Request) -> None:
    done = subprocess.run([sys.executable, TOOLS / "inventory.py"], capture_output=True, timeout=60, check=True)
    found = json.loads(done.stdout)
    bill = sbom.bill(embedded, f"sha256:{'1' * 64}", "localhost:5000/a/b:1", found)
    by_name = {component["name"]: component for component in bill["components"]}
    import numpy as np

    assert by_name["numpy"]["purl"] == f"pkg:pypi/numpy@{np.__version__}"
    assert by_name["tritonserver"]["version"] == "24.10"
    onnx = by_name["/models/digits_engine/1/model.onnx"]
    assert onnx["type"] == "machine-learning-model"
    assert len({component["bom-ref"] for component in bill["components"]}) == len(bill["components"])
    assert bill["metadata"]["component"]["name"] == "localhost:5000/a/b"
    assert bill == sbom.bill(embedded, f"sha256:{'1' * 64}", "localhost:5000/a/b:1", found)


@pytest.mark.parametrize(
    ("package", "version", "source", "wanted", "upstream"),
    [
        ("libstdc++6", "1:12.2+b1", "gcc-12", ("gcc-12", "1:12.2+b1"), "&upstream=gcc-12"),
        ("libssl3", "3.0.17-1", "openssl", ("openssl", "3.0.17-1"), "&upstream=openssl"),
        ("bash", "5.2.15-2+b9", "bash (5.2.15-2)", ("bash", "5.2.15-2"), "&upstream=bash%405.2.15-2"),
        ("dash", "0.5.12-2", "", ("dash", "0.5.12-2"), ""),
    ],
)
def test_packages_of_debian_have_their_own_names_and_those_of_their_source(
    embedded: Request, package: str, version: str, source: str, wanted: tuple[str, str], upstream: str
) -> None:
    one = {"package": package, "version": version, "architecture": "amd64", "source": source}
    found = {"os": {"ID": "debian", "VERSION_ID": "12"}, "debian": [one], "packages": []}
    bill = sbom.bill(embedded, "sha256:1", "a:1", found)
    [made] = [component for component in bill["components"] if component["name"] == package]
    name, number = (text.replace("+", "%2B").replace(":", "%3A") for text in (package, version))
    assert made["purl"] == f"pkg:deb/debian/{name}@{number}?arch=amd64&distro=debian-12{upstream}"
    assert {one["name"]: one["value"] for one in made["properties"]} == {
        "aquasecurity:trivy:SrcName": wanted[0], "aquasecurity:trivy:SrcVersion": wanted[1],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("system", "told"),
    [
        ({"ID": "ubuntu", "VERSION_ID": "24.04"}, [("ubuntu", "24.04")]),
        ({"ID": "debian"}, [("debian", "")]),
        ({}, []),
    ],
)
def test_the_bill_names_the_distribution_once(
    embedded: Request, system: dict[str, str], told: list[tuple[str, str]]
) -> None:
    bill = sbom.bill(embedded, "sha256:1", "a:1", {"os": system, "debian": [], "packages": []})
    systems = [component for component in bill["components"] if component["type"] == "operating-system"]
    assert [(component["name"], component["version"]) for component in systems] == told


def test_a_container_gets_what_it_needs_and_no_more(embedded: Request) -> None:
    made = options(embedded, "a:1", Ports(0, 9001, 9002), "secret")
    assert made["ports"] == {
        "8000/tcp": ("127.0.0.1", None), "8001/tcp": ("127.0.0.1", 9001), "8002/tcp": ("127.0.0.1", 9002),
    }  # fmt: skip
    assert (made["read_only"], made["cap_drop"]) == (True, ["ALL"])
    assert made["shm_size"] == embedded.values["sharedMemoryBytes"]
    assert made["environment"] == {"TRITON_RESTRICTED_KEY": "secret"}
    assert "command" not in made
    assert "device_requests" not in made
    assert options(embedded, "a:1", Ports(), "")["environment"] == {}
    drain = embedded.values["drain"]
    assert stop_timeout_s(embedded) == drain["exitTimeoutSeconds"] + drain["marginSeconds"]
