"""An interrupt that a library swallows is not lost: the next line of progress raises it again, or the command's end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, cast

import numpy as np
import pytest
from engine_projects import digits_project, files, int8

from deploy.embedded.server import EmbeddedServer
from deploy.embedded.stubs import Watch
from generator.project import Project
from tritonkit.cli.commands import serve
from tritonkit.cli.output import progress, seldom
from tritonkit.cli.signals import forget_interrupt, interrupted_later, raise_again, terminate_as_interrupt


def swallowed(number: signal.Signals = signal.SIGINT) -> None:
    """An interrupt comes, and nothing hears of it."""
    came = False
    try:
        signal.raise_signal(number)
    except BaseException:  # noqa: BLE001
        came = True
    assert came


@contextmanager
def is_interrupted() -> Iterator[pytest.ExceptionInfo[KeyboardInterrupt]]:
    """A block of a command, which an interrupt ends."""
    with pytest.raises(KeyboardInterrupt) as raised, terminate_as_interrupt():
        yield raised


# Where it is raised again ----------------------------------------------------------------------------------


@pytest.fixture
def hangs_up() -> Iterator[None]:
    """A terminal that goes ends a command, also where the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("hangs_up")
def test_at_the_end_of_the_block(number: signal.Signals) -> None:
    before, done = signal.getsignal(number), []
    with is_interrupted():
        swallowed(number)
        done.append("all")
    assert done == ["all"]
    assert signal.getsignal(number) is before
    with terminate_as_interrupt():  # and is forgotten
        raise_again()


@pytest.mark.usefixtures("hangs_up")
def test_under_nohup_a_terminal_that_goes_ends_nothing() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for block in (terminate_as_interrupt, interrupted_later):
        with block():
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            raise_again()


def test_at_the_next_line_of_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with is_interrupted(), progress("first") as now:
        now("second")
        swallowed()
        now("third")
        pytest.fail("it goes on")
    assert capsys.readouterr().err == "first\nsecond\n"


def test_at_a_line_that_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with is_interrupted(), progress("first") as every:
        now = seldom(every)
        now("1 of 3")
        swallowed()
        now("2 of 3")
        pytest.fail("it goes on")
    assert capsys.readouterr().err == "first\n1 of 3\n"


def test_at_each_line_until_it_is_heard() -> None:
    """One that is swallowed once more is not lost either."""
    with is_interrupted(), progress("first") as now:
        swallowed()
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                now("second")


def test_as_numpy_swallows_it() -> None:
    """numpy asks Python code whether a type is of ctypes, and clears what that raises."""
    came = []

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_name == "npy_ctypes_check":
            sys.setprofile(None)
            came.append(event)
            signal.raise_signal(signal.SIGINT)

    with is_interrupted():
        sys.setprofile(profile)
        np.dtype(np.ndarray)
    assert came == ["call"]


def test_before_an_error_that_follows() -> None:
    with is_interrupted() as raised:
        swallowed()
        raise ValueError("of what was swallowed")
    assert isinstance(raised.value.__cause__, ValueError)


def test_an_error_without_an_interrupt() -> None:
    with pytest.raises(ValueError, match="alone"), terminate_as_interrupt():
        raise ValueError("alone")


# Where it is not -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["except", "finally", "another error"])
def test_what_cleans_up_is_not_interrupted(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = []
    with is_interrupted(), progress("first") as now:
        if how == "except":
            try:
                signal.raise_signal(signal.SIGINT)
            except BaseException:
                now("cleaning up")
                done.append(how)
                raise
        elif how == "finally":
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                now("cleaning up")
                done.append(how)
        else:
            try:
                swallowed()
                raise ValueError("before any line")
            finally:
                now("cleaning up")
                done.append(how)
    assert done == [how]
    assert capsys.readouterr().err == "first\ncleaning up\n"


def test_a_second_one_does() -> None:
    done = []
    with is_interrupted():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            done.append("before")
            signal.raise_signal(signal.SIGINT)
            done.append("after")
    assert done == ["before"]


def test_who_has_handled_it_goes_on() -> None:
    done = []
    with terminate_as_interrupt(), progress("first") as now:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            forget_interrupt()
        now("second")
        done.append("all")
    assert done == ["all"]


def test_one_that_waits_is_not_there_yet() -> None:
    done = []
    with is_interrupted(), progress("first") as now:
        with interrupted_later():
            signal.raise_signal(signal.SIGINT)
            now("second")
            done.append("all of it")
        pytest.fail("it goes on")
    assert done == ["all of it"]


# In commands -----------------------------------------------------------------------------------------------


class Deaf:
    """A server that runs for ever, in whose waiting an interrupt is swallowed. It counts how often it is waited for."""

    waits = 0

    def wait(self, _seconds: float) -> None:
        self.waits += 1
        assert self.waits < 3
        swallowed()
        raise TimeoutError

    def ended(self) -> list[Any]:
        return []


def test_serve() -> None:
    server = Deaf()
    with is_interrupted():
        serve._wait(cast(EmbeddedServer, server), cast(Watch, server))
    assert server.waits == 1


# `once` raises an interrupt and swallows it. Each of the places is a way to have the build run it.
_BUILD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

def once():
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:
        print("swallowed", flush=True)

def before(module, name, do):
    usual = getattr(module, name)
    def changed(*arguments, **options):
        setattr(module, name, usual)
        do()
        return usual(*arguments, **options)
    setattr(module, name, changed)

def in_numpy():
    def profile(frame, event, _argument):
        if event == "call" and frame.f_code.co_name == "npy_ctypes_check":
            sys.setprofile(None)
            print("swallowed", flush=True)
            signal.raise_signal(signal.SIGINT)
    sys.setprofile(profile)

PLACE
from tritonkit.cli import main
main()
"""
PLACES = {
    "in the gate": "from generator.engine import runner; before(runner.OnnxRunner, 'run', once)",
    "in a search": "from generator.engine import precision; before(precision, 'search', once)",
    "in numpy": "from generator.engine import precision; before(precision, 'quantized', in_numpy)",
    "in timing": "from generator.engine.build.candidates import speed; before(speed, 'fastest_of', once)",
}


def build(project: Project, place: str, temporary: Path) -> subprocess.CompletedProcess[str]:
    temporary.mkdir()
    return subprocess.run(
        [sys.executable, "-c", _BUILD.replace("PLACE", place), "build", "--force"], cwd=project.root, text=True,
        capture_output=True, timeout=120, check=False, env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_build(tmp_path: Path, place: str) -> None:
    project = digits_project(tmp_path / "project", int8(mixed=True))
    done = build(project, PLACES[place], tmp_path / "temporary")
    assert (done.returncode, done.stdout) == (130, "swallowed\n"), done.stderr
    assert done.stderr.endswith("\ninterrupted\n")
    assert "Traceback" not in done.stderr
    assert "installing" not in done.stderr
    assert files(project.root) == {}
    assert [path for path in (tmp_path / "temporary").iterdir() if path.name.startswith("tritonkit")] == []


def test_build_when_all_is_done(tmp_path: Path) -> None:
    """Too late to undo it, and told all the same."""
    project = digits_project(tmp_path / "project", int8())
    place = "from generator.engine.build import finish; before(finish, 'install', once)"
    done = build(project, place, tmp_path / "temporary")
    assert (done.returncode, done.stdout) == (130, "swallowed\n"), done.stderr
    assert done.stderr.endswith("installing\n\ninterrupted\n")
    assert files(project.root)


def test_one_that_comes_again_by_itself() -> None:
    """Where Python cannot raise it, it comes again a moment later: not into what cleans up already, nor after."""
    code = """
import signal, sys, threading
from tritonkit.cli import signals
from tritonkit.cli.signals import interrupts_end_it, raise_again, terminate_as_interrupt
interrupts_end_it()
class Freed:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
def until_it_came():
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join()
for how in "cleaning up", "after":
    try:
        with terminate_as_interrupt():
            Freed()
            try:
                raise_again()
            finally:
                if how == "cleaning up":
                    until_it_came()
                    print("cleaned up")
    except KeyboardInterrupt:
        print("handled")
    until_it_came()
    print("ended")
with terminate_as_interrupt():
    try:
        Freed()
        until_it_came()
        print("lost")
    except KeyboardInterrupt:
        print("came again")
        signals.forget_interrupt()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["cleaned up", "handled", "ended", "handled", "ended", "came again"]
