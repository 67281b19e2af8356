"""Whoever is killed, and however: within ten seconds no process and no shared memory of the server is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.embedded.flags import ServerNeeds
from deploy.embedded.server import EmbeddedServer

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[3]
OWNER = """
import json, signal, sys, time
from pathlib import Path
from deploy.embedded.flags import ServerNeeds
from deploy.embedded.server import EmbeddedServer

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests under nohup start what ignores it
server = EmbeddedServer(Path(sys.argv[1]), ServerNeeds(longest_request_ms=1000), log_path=Path(sys.argv[2]))
with server:
    print(json.dumps({"pid": server.pid, "prefix": server.shm_prefix, "http": server.http_address}), flush=True)
    server.wait()
"""


@dataclass
class Owner:
    """A process of its own session that owns a server."""

    process: subprocess.Popen[str]
    pid: int
    prefix: str
    supervisor: psutil.Process
    log: Path

    def family_is_gone(self, look: Any) -> bool:
        return look.nothing_left(self.prefix) and not self.supervisor.is_running()


@pytest.fixture
def own(shared_repository: Path, tmp_path: Path) -> Iterator[Callable[[], Owner]]:
    started: list[subprocess.Popen[str]] = []

    def start() -> Owner:
        log = tmp_path / "server.log"
        process = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(shared_repository), str(log)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        server = psutil.Process(said["pid"])
        supervisor = server.parent()
        assert supervisor is not None
        assert supervisor.ppid() == process.pid
        return Owner(process, said["pid"], said["prefix"], supervisor, log)

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_after_sigkill_of_the_owner(own: Callable[[], Owner], look: Any) -> None:
    owner = own()
    assert len(look.segments(owner.prefix)) == 2
    owner.process.kill()
    assert look.eventually(lambda: owner.family_is_gone(look), 10)
    # It was asked to end, not killed.
    assert "All models are stopped, unloading models" in owner.log.read_text()


def test_after_sigkill_of_the_owner_of_a_server_that_ignores_sigterm(own: Callable[[], Owner], look: Any) -> None:
    owner = own()
    os.kill(owner.pid, signal.SIGSTOP)  # it sees no signal but SIGKILL now
    owner.process.kill()
    assert look.eventually(lambda: owner.family_is_gone(look), 10)


def test_after_sigkill_of_the_owner_during_the_start(repository: Any, look: Any, tmp_path: Path) -> None:
    repository.model(initialize="time.sleep(600)")
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(repository.path), str(tmp_path / "log")], cwd=ROOT, start_new_session=True
    )
    try:
        # The server and its stub have the repository's path in their command lines.
        assert look.eventually(lambda: len(look.processes_of(f"{repository.path}/")) == 1)
        servers = look.processes_of(f"--model-repository={repository.path}")
        [prefix] = [word.split("=")[2] for word in servers[0].cmdline() if "shm-region-prefix-name" in word]
    finally:
        process.kill()
        process.wait()
    assert look.eventually(lambda: look.nothing_left(prefix), 10)
    assert not look.processes_of(str(repository.path))


def test_after_sigkill_of_a_stub(own: Callable[[], Owner], look: Any) -> None:
    owner = own()
    [stub] = [p for p in look.processes_of(owner.prefix) if p.pid != owner.pid]
    stub.kill()
    owner.process.send_signal(signal.SIGINT)
    owner.process.wait(20)
    assert look.eventually(lambda: owner.family_is_gone(look), 10)


def test_after_sigkill_of_owner_and_supervisor_together(own: Callable[[], Owner], look: Any) -> None:
    owner = own()
    owner.process.kill()
    owner.supervisor.kill()
    assert look.eventually(lambda: not look.processes_of(owner.prefix), 10)


def test_after_sigkill_of_the_supervisor(shared_repository: Path, look: Any) -> None:
    with EmbeddedServer(shared_repository, ServerNeeds(longest_request_ms=1000)) as server:
        parent = psutil.Process(server.pid).parent()
        assert parent is not None
        parent.kill()
        assert server.wait(5) == 128 + signal.SIGKILL
        assert server.failed
    assert look.eventually(lambda: look.nothing_left(server.shm_prefix), 10)


def test_after_sigkill_of_the_supervisor_of_a_server_that_ignores_sigterm(shared_repository: Path, look: Any) -> None:
    with EmbeddedServer(shared_repository, ServerNeeds(longest_request_ms=1000)) as server:
        os.kill(server.pid, signal.SIGSTOP)
        parent = psutil.Process(server.pid).parent()
        assert parent is not None
        parent.kill()
        server.wait(5)
    assert look.eventually(lambda: look.nothing_left(server.shm_prefix), 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_after_a_signal_that_ends_the_owner(own: Callable[[], Owner], look: Any, number: signal.Signals) -> None:
    owner = own()
    owner.process.send_signal(number)
    assert owner.process.wait(10) == -number
    assert look.eventually(lambda: owner.family_is_gone(look), 10)


def test_ctrl_c_reaches_the_owner_alone_and_drains(own: Callable[[], Owner], look: Any) -> None:
    owner = own()
    # What a terminal does: the signal goes to the whole foreground group.
    os.killpg(owner.process.pid, signal.SIGINT)
    _, errors = owner.process.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors
    assert owner.family_is_gone(look)  # the owner itself waited for that
    log = owner.log.read_text()
    assert "Signal (15) received." in log
    assert "Signal (2)" not in log
    assert "successfully unloaded 'double'" in log


def test_ctrl_c_twice_still_leaves_nothing(own: Callable[[], Owner], look: Any) -> None:
    owner = own()
    os.killpg(owner.process.pid, signal.SIGINT)
    assert look.eventually(lambda: "Signal (15) received." in owner.log.read_text())
    os.killpg(owner.process.pid, signal.SIGINT)
    started = time.monotonic()
    owner.process.wait(10)
    assert time.monotonic() - started < 2
    assert look.eventually(lambda: owner.family_is_gone(look), 10)
