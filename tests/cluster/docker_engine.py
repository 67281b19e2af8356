"""A Docker engine of the tests' own, and a Debian to build on; nothing of either is left, and no image is pulled."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import docker.errors
import psutil

BASE = "tritonkit-test-base:bookworm"
_SUITE, _MIRROR = "bookworm", "http://deb.debian.org/debian"
_READY_S, _GONE_S, _DEBOOTSTRAP_S = 60.0, 60.0, 900.0


def program(name: str, package: str) -> str:
    """Its path. A test without it fails, and says what to install."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    assert found is not None, f"`{name}` is missing: apt-get install {package}"
    return found


@dataclass(frozen=True)
class DockerEngine:
    """A running engine; `host` is what DOCKER_HOST has to be."""

    host: str
    client: docker.DockerClient

    def base(self, cache: Path) -> str:
        """Debian as an image, `name@sha256:…`: made by debootstrap once and kept in `cache`."""
        tar = cache / f"debian-{_SUITE}.tar"
        if not tar.exists():
            _make_debian(tar)
        self.client.api.import_image_from_file(str(tar), repository=BASE.partition(":")[0], tag=_SUITE)
        return f"{BASE}@{self.client.images.get(BASE).id}"


def _make_debian(tar: Path) -> None:
    tar.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tritonkit-debian-") as folder:
        root, fresh = Path(folder) / "root", tar.with_suffix(".new")
        command = [program("debootstrap", "debootstrap"), "--variant=minbase", _SUITE, str(root), _MIRROR]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DEBOOTSTRAP_S, check=False)
        assert done.returncode == 0, f"debootstrap failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        subprocess.run(["tar", "-C", str(root), "--exclude=./dev/*", "-cf", str(fresh), "."], check=True, timeout=300)
        fresh.replace(tar)


@contextlib.contextmanager
def docker_engine() -> Iterator[DockerEngine]:
    """Starts dockerd with folders of its own; ends it, its containers and its mounts."""
    dockerd = program("dockerd", "docker.io")
    bridge_was_there = Path("/sys/class/net/docker0").exists()
    folder = Path(tempfile.mkdtemp(prefix="tkd-"))  # short: the socket's path may have 107 characters
    host, log = f"unix://{folder}/sock", folder / "log"
    names = {"--data-root": "data", "--exec-root": "exec", "--pidfile": "pid"}
    words = [word for option, name in names.items() for word in (option, str(folder / name))]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [dockerd, *words, "--host", host],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    client = None
    try:
        client = _client(host, process, log)
        yield DockerEngine(host, client)
    finally:
        if client is not None:
            for container in client.containers.list(all=True):
                with contextlib.suppress(docker.errors.APIError):
                    container.remove(force=True, v=True)
            client.close()
        _end(process)
        _unmount(folder)
        shutil.rmtree(folder, ignore_errors=True)
        if not bridge_was_there and Path("/sys/class/net/docker0").exists():
            subprocess.run([program("ip", "iproute2"), "link", "delete", "docker0"], check=False, timeout=30)


def _client(host: str, process: subprocess.Popen[bytes], log: Path) -> docker.DockerClient:
    deadline = time.monotonic() + _READY_S
    while True:
        # Not the SDK: it leaves a socket open each time that nobody answers.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as knock:
            knock.connect(host.removeprefix("unix://"))
            return docker.DockerClient(base_url=host, timeout=600)
        assert process.poll() is None, f"dockerd ended:\n{log.read_text()[-3000:]}"
        assert time.monotonic() < deadline, f"dockerd is not ready:\n{log.read_text()[-3000:]}"
        time.sleep(0.2)


def _end(process: subprocess.Popen[bytes]) -> None:
    """dockerd ends its containerd itself; whatever it leaves is ended after it."""
    family = []
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_GONE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    for one in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()


def mounts_under(folder: Path) -> list[str]:
    """Every mount point in the folder, the innermost first."""
    points = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((point for point in points if point.startswith(f"{folder}/")), key=len, reverse=True)


def _unmount(folder: Path) -> None:
    for point in mounts_under(folder):
        subprocess.run(["umount", "--lazy", point], check=False, timeout=30)
