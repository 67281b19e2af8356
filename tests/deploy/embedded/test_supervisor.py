"""The supervisor around plain programs: what it promises does not depend on tritonserver."""

from __future__ import annotations

import fcntl
import json
import os
import re
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

from deploy.embedded import supervisor


@dataclass
class Run:
    """A supervisor and the program it started."""

    process: subprocess.Popen[bytes]
    pid: int
    prefix: str
    cwd: Path

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def hang_up(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[[str], Run]]:
    """Runs a Python program under a supervisor."""
    runs: list[Run] = []

    def start(program: str) -> Run:
        prefix, lock = supervisor.claim_prefix()
        cwd = tmp_path / "run" / "cwd"
        cwd.mkdir(parents=True)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", supervisor.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[lock],
            start_new_session=True,
        )
        os.close(lock)
        argv = [sys.executable, "-I", "-S", "-u", "-c", program]
        job = {"argv": argv, "env": {}, "cwd": str(cwd), "log": str(tmp_path / "log")}
        run = Run(process, 0, prefix, cwd)
        runs.append(run)
        run.say(json.dumps(job | {"shm_prefix": prefix, "lock_fd": lock, "owner": os.getpid()}))
        assert process.stdout is not None
        run.pid = int(process.stdout.readline())
        return run

    yield start
    for run in runs:
        run.hang_up()
        run.process.kill()
        run.process.wait()
        assert run.process.stdout is not None
        run.process.stdout.close()
        supervisor.remove_segments(run.prefix)


def wait_for_log(tmp_path: Path, text: str, look: Any) -> None:
    log = tmp_path / "log"
    assert look.eventually(lambda: log.exists() and text in log.read_text())


SLEEPER = "import time; print('up'); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(600)"
# A daemon: its parent is gone and it has a session of its own.
ORPHAN = """import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(1, b'orphan %d.' % os.getpid())
        time.sleep(600)
    os._exit(0)
os.wait()
time.sleep(600)
"""


@pytest.mark.parametrize(("code", "status"), [("pass", 0), ("raise SystemExit(7)", 7)])
def test_the_exit_status_is_the_programs(supervise: Callable[[str], Run], code: str, status: int) -> None:
    run = supervise(code)
    assert run.process.wait(10) == status
    assert not run.cwd.exists()
    assert run.cwd.parent.exists()


def test_a_program_that_is_not_there(supervise: Callable[[str], Run], tmp_path: Path, look: Any) -> None:
    run = supervise("import os; os.execv('/srv/nowhere', ['x'])")
    assert run.process.wait(10) == 1
    wait_for_log(tmp_path, "FileNotFoundError", look)


def test_stop_is_gentle_first(supervise: Callable[[str], Run], tmp_path: Path, look: Any) -> None:
    program = "import signal, sys, time\ndef end(*_): print('ended'); sys.exit(5)\n"
    run = supervise(f"{program}signal.signal(signal.SIGTERM, end); print('up'); time.sleep(600)")
    wait_for_log(tmp_path, "up", look)
    run.say("stop 10")
    assert run.process.wait(5) == 5
    wait_for_log(tmp_path, "ended", look)


def test_stop_kills_what_ignores_sigterm(supervise: Callable[[str], Run], tmp_path: Path, look: Any) -> None:
    run = supervise(STUBBORN)
    wait_for_log(tmp_path, "up", look)
    started = time.monotonic()
    run.say("stop 0.3")
    assert run.process.wait(5) == 128 + signal.SIGKILL
    assert 0.3 <= time.monotonic() - started < 3


def test_a_second_stop_shortens_the_first(supervise: Callable[[str], Run], tmp_path: Path, look: Any) -> None:
    run = supervise(STUBBORN)
    wait_for_log(tmp_path, "up", look)
    run.say("stop 300")
    run.say("stop 0")
    assert run.process.wait(5) == 128 + signal.SIGKILL


def test_a_closed_pipe_ends_it(supervise: Callable[[str], Run], tmp_path: Path, look: Any) -> None:
    run = supervise(SLEEPER)
    wait_for_log(tmp_path, "up", look)
    run.hang_up()
    assert run.process.wait(5) == 128 + signal.SIGTERM
    assert not psutil.pid_exists(run.pid)
    assert not run.cwd.parent.exists()


def test_orphans_and_segments_go_too(supervise: Callable[[str], Run], tmp_path: Path, look: Any) -> None:
    run = supervise(ORPHAN)
    wait_for_log(tmp_path, ".", look)
    orphan = int(re.findall(r"orphan (\d+)\.", (tmp_path / "log").read_text())[0])
    Path(f"/dev/shm/{run.prefix}segment").write_bytes(b"x")
    assert look.eventually(lambda: psutil.Process(orphan).ppid() == run.process.pid)
    run.say("stop 5")
    run.process.wait(10)
    assert not psutil.pid_exists(orphan)
    assert look.segments(run.prefix) == []
    assert not run.cwd.exists()


def test_the_program_ends_with_its_supervisor(supervise: Callable[[str], Run], tmp_path: Path, look: Any) -> None:
    run = supervise(SLEEPER)
    wait_for_log(tmp_path, "up", look)
    run.process.kill()
    assert look.eventually(lambda: not psutil.pid_exists(run.pid) or psutil.Process(run.pid).status() == "zombie")


def test_a_terminals_ctrl_c_does_not_reach_it(supervise: Callable[[str], Run], tmp_path: Path, look: Any) -> None:
    run = supervise(SLEEPER)
    wait_for_log(tmp_path, "up", look)
    assert len({os.getsid(0), os.getsid(run.process.pid), os.getsid(run.pid)}) == 3
    os.kill(run.process.pid, signal.SIGINT)
    os.kill(run.process.pid, signal.SIGHUP)
    os.kill(run.process.pid, signal.SIGTERM)
    assert run.process.wait(5) == 128 + signal.SIGTERM


def test_it_starts_fast(supervise: Callable[[str], Run]) -> None:
    times = []
    for _ in range(5):
        started = time.monotonic()
        subprocess.run([sys.executable, "-I", "-S", supervisor.__file__], stdin=subprocess.DEVNULL, check=False)
        times.append(time.monotonic() - started)
    assert min(times) < 0.2


@pytest.mark.alone  # any server that starts removes what is stale
class TestPrefixes:
    def test_a_claim_is_not_stale_until_it_ends(self) -> None:
        prefix, lock = supervisor.claim_prefix()
        try:
            assert prefix not in supervisor.stale_prefixes()
            os.close(lock)
            assert prefix in supervisor.stale_prefixes()
        finally:
            names = supervisor.remove_segments(prefix)
        assert names == [f"{prefix}lock"]
        assert prefix not in supervisor.stale_prefixes()

    def test_a_child_that_inherits_it_keeps_it(self) -> None:
        prefix, lock = supervisor.claim_prefix()
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
        os.close(lock)
        try:
            assert prefix not in supervisor.stale_prefixes()
            child.communicate(b"\n")
            assert prefix in supervisor.stale_prefixes()
        finally:
            child.kill()
            child.wait()
            supervisor.remove_segments(prefix)

    def test_a_sweep_between_opening_and_locking_costs_a_new_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real, seen = fcntl.flock, []

        def flock(fd: int, operation: int) -> None:
            if not seen:  # the sweep gets there first
                seen.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
                Path(seen[0]).unlink()
            real(fd, operation)

        monkeypatch.setattr(supervisor.fcntl, "flock", flock)
        prefix, lock = supervisor.claim_prefix()
        try:
            assert not seen[0].endswith(f"/{prefix}lock")
            assert Path(f"/dev/shm/{prefix}lock").exists()
        finally:
            os.close(lock)
            supervisor.remove_segments(prefix)
