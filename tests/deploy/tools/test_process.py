"""Programs are captured, bounded in time, and gone when we are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from deploy.tools import process
from deploy.tools.process import TimedOutError, find, run, shown
from generator.problems import UserError

WITHIN_S = 20.0


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(pid: int) -> bool:
    deadline = time.monotonic() + WITHIN_S
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not lives(pid)


def test_both_streams_and_the_status() -> None:
    done = run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout_s=WITHIN_S)
    assert (done.status, done.stdout, done.stderr, done.is_fine) == (3, "out\n", "err\n", False)
    assert run(["true"], timeout_s=WITHIN_S).is_fine


def test_input_is_read_by_the_program_and_more_than_a_pipe_holds_comes_back() -> None:
    text = "é" * 300_000
    assert run(["cat"], input=text, timeout_s=WITHIN_S).stdout == text
    assert run(["true"], input=text, timeout_s=WITHIN_S).is_fine  # it reads nothing
    assert run(["cat"], timeout_s=WITHIN_S).stdout == ""  # and nobody's terminal


def test_the_environment_is_the_one_given() -> None:
    assert run(["/usr/bin/env"], env={"ONLY": "this"}, timeout_s=WITHIN_S).stdout == "ONLY=this\n"


def test_lines_come_while_it_runs(tmp_path: Path) -> None:
    """The program waits for what the callback does: lines that came at its end only would never let it go on."""
    flag = tmp_path / "seen"
    code = f"echo one; until [ -e {flag} ]; do sleep 0.01; done; printf 'two\\nno break'"
    seen = []

    def on_line(line: str) -> None:
        seen.append(line)
        flag.touch()

    assert run(["sh", "-c", code], timeout_s=WITHIN_S, on_line=on_line).stdout == "one\ntwo\nno break"
    assert seen == ["one", "two", "no break"]


def test_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = f"sleep 60 & echo $! > {pids}; echo $$ >> {pids}; wait"
    with pytest.raises(TimedOutError, match=r"`sh -c .*` has not ended within 1 seconds"):
        run(["sh", "-c", code], timeout_s=1)
    assert all(gone(int(pid)) for pid in pids.read_text().split())


def test_one_that_ended_in_time_is_heard_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its streams are read late here, as on a busy machine: the deadline is over by then."""
    real = process._Reader._run

    def late(self: process._Reader) -> None:
        time.sleep(0.8)
        real(self)

    monkeypatch.setattr(process._Reader, "_run", late)
    assert run(["sh", "-c", "echo all"], timeout_s=0.4).stdout == "all\n"


def test_one_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process, "GRACE_S", 0.2)
    pid = tmp_path / "pid"
    code = f"trap '' TERM; echo $$ > {pid}; while true; do sleep 0.05; done"
    with pytest.raises(TimedOutError):
        run(["sh", "-c", code], timeout_s=0.5)
    assert gone(int(pid.read_text()))


def test_a_callback_that_raises_ends_it() -> None:
    pids: list[int] = []

    def on_line(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(["sh", "-c", "echo $$; exec sleep 60"], timeout_s=WITHIN_S, on_line=on_line)
    assert gone(pids[0])


def test_an_interrupt_reaches_us_alone_and_the_program_gets_sigterm(tmp_path: Path) -> None:
    """As in a terminal: the signal goes to our group, and the program has time to write down that it was stopped."""
    pid, told = tmp_path / "pid", tmp_path / "told"
    inner = f"trap 'echo stopped > {told}; exit 0' TERM; trap 'echo interrupted > {told}; exit 0' INT; echo $$ > {pid}; while true; do sleep 0.02; done"
    code = f"""
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from deploy.tools.process import run
        try:
            run(["sh", "-c", {inner!r}], timeout_s=60)
        except KeyboardInterrupt:
            print("interrupted")
    """
    command = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    deadline = time.monotonic() + WITHIN_S
    while not (pid.exists() and pid.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(command.pid, signal.SIGINT)
    out, _ = command.communicate(timeout=WITHIN_S)
    assert (out, told.read_text()) == ("interrupted\n", "stopped\n")
    assert gone(int(pid.read_text()))


def test_a_child_left_behind_that_holds_the_pipe_holds_nobody_up() -> None:
    started = time.monotonic()
    done = run(["sh", "-c", "sleep 30 & echo $!"], timeout_s=60)
    os.kill(int(done.stdout), signal.SIGKILL)
    assert done.is_fine
    assert time.monotonic() - started < WITHIN_S


def test_what_cannot_be_started() -> None:
    with pytest.raises(UserError, match="`/nowhere` cannot be started: no such file or directory"):
        run(["/nowhere"], timeout_s=1)


def test_find(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find("tool", "") == tmp_path / "tool"
    assert find(Path(sys.executable).name, "") == Path(sys.executable)  # beside this Python
    with pytest.raises(UserError, match="`kubectx` is not installed here") as caught:
        find("kubectx", "install it")
    assert caught.value.hint == "install it"


def test_a_command_line_is_shown_short() -> None:
    assert shown(["/usr/bin/helm", "get", "values", "digits"]) == "helm get values digits"
    assert shown([*"abcdefgh"]) == "a b c d e f …"
