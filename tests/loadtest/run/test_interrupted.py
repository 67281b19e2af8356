"""One interrupt at any time keeps what was sent: a whole run, or one that is marked as stopped."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from steady_server import steady

sys.path.insert(0, str(Path(__file__).parent))

from load_tools import Digits, quiet

from generator.problems import ProblemsError
from loadtest.results.run import Run, read_run
from loadtest.run import measure as measuring
from loadtest.run import splits
from loadtest.run.asked import Promise
from loadtest.run.interrupts import interrupts_noted
from loadtest.run.measure import measure
from loadtest.run.problem import refused
from loadtest.run.room import Room
from loadtest.samples.file import read_samples
from loadtest.sender import process
from loadtest.sender.process import Sending

NEVER_DECIDED = Promise(60_000.0, max_error_rate=1.0)  # too few requests to pass, and no stall is so long
LOOKS = {
    "rate_rps": 200.0, "duration_s": 0.5, "budget_s": 2.0,  # three of them
    "promises": {"digits": NEVER_DECIDED}, "connections": 1024,  # none waits for one, whatever stalls
}  # fmt: skip


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """An interrupt, also where whoever started the tests has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupting(said: str, nth: int = 1) -> Callable[[str], None]:
    """A progress that gets Ctrl-C when something is said the n-th time."""
    seen: list[str] = []

    def tell(text: str) -> None:
        if said in text:
            seen.append(text)
            if len(seen) == nth:
                os.kill(os.getpid(), signal.SIGINT)

    return tell


def interrupted(
    folder: Path, tell: Callable[[str], None], by: type[BaseException] = KeyboardInterrupt, **asked: Any
) -> Run:
    """What is left of a run, which is nothing but the run."""
    with steady(least_ms=2, spread_ms=2) as server:
        digits = Digits(server)
        with pytest.raises(by) as raised:
            measure(digits.asked(**asked), digits.serving, digits.payloads, folder, tell, extend="budget_s" in asked)
    if isinstance(raised.value, ProblemsError):
        kept = f"samples before that are kept in {folder}, marked as stopped"
        assert kept in raised.value.problems[-1].hint
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "samples.bin"]
    run = read_run(folder)
    assert len(read_samples(folder / "samples.bin")[1]) == run.requests
    return run


def test_before_the_first_request_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to keep, and the folder is free."""
    real = Sending.prepare

    def prepare(sending: Sending) -> None:
        real(sending)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Sending, "prepare", prepare)
    with steady() as server:
        digits = Digits(server)
        with pytest.raises(KeyboardInterrupt):
            measure(digits.asked(senders=2), digits.serving, digits.payloads, tmp_path, quiet)
    assert list(tmp_path.iterdir()) == []


def test_while_samples_are_put_together(tmp_path: Path) -> None:
    """All was sent, so the run is whole."""
    run = interrupted(tmp_path, interrupting("putting the samples together"), duration_s=1.0)
    assert (run.stopped, run.outcomes) == (None, {"ok": run.requests})
    assert run.requests > 50


def test_while_the_samples_of_a_later_look_are_put_together(tmp_path: Path) -> None:
    """They are in the run, which says that another look was to follow."""
    run = interrupted(tmp_path, interrupting("putting the samples together", 2), **LOOKS)
    assert (run.stopped, run.traffic.options["segments"]) == ("interrupted", 2)


def test_between_two_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = measuring.schedule_of

    def drawn(*arguments: Any) -> Any:
        if arguments[-1].number:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(measuring, "schedule_of", drawn)
    run = interrupted(tmp_path, quiet, **LOOKS)
    assert (run.stopped, run.traffic.options["segments"]) == ("interrupted", 1)


def test_while_the_senders_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All was sent and answered, so the run is whole."""
    real, asked = Sending.ask_to_end, list[Sending]()

    def ask(sending: Sending) -> None:
        if not asked:
            os.kill(os.getpid(), signal.SIGINT)
        asked.append(sending)
        real(sending)

    monkeypatch.setattr(Sending, "ask_to_end", ask)
    run = interrupted(tmp_path, quiet, duration_s=1.0)
    assert (run.stopped, run.outcomes) == (None, {"ok": run.requests})


def test_while_the_last_report_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The senders have all answers already, and only have to tell so."""
    real, waited = Sending.wait, list[Sending]()

    def wait(sending: Sending, timeout_s: float) -> Any:
        if not waited:
            waited.append(sending)
            os.kill(os.getpid(), signal.SIGINT)
        return real(sending, timeout_s)

    monkeypatch.setattr(Sending, "wait", wait)
    run = interrupted(tmp_path, quiet, duration_s=1.0)
    assert (run.stopped, run.outcomes) == (None, {"ok": run.requests})


@pytest.mark.parametrize("segment", [0, 1])
def test_between_sending_and_putting_together(segment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was just sent is in the run, with what was before."""
    real = measuring.send

    def send(*arguments: Any) -> Any:
        sent = real(*arguments)
        if arguments[1].name == f"segment-{segment}":
            os.kill(os.getpid(), signal.SIGINT)
        return sent

    monkeypatch.setattr(measuring, "send", send)
    run = interrupted(tmp_path, quiet, **LOOKS)
    assert (run.stopped, run.traffic.options["segments"]) == ("interrupted", segment + 1)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (refused("TK876", "here", "the disk has too little left", "free some"), "the disk has too little left"),
        (RuntimeError("a mistake"), "a mistake"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_look_that_cannot_be_is_told_in_the_run(
    error: Exception, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, taken = Room.take, list[int]()

    def take(room: Room, requests: int) -> None:
        taken.append(requests)
        if len(taken) == 2:
            raise error
        real(room, requests)

    monkeypatch.setattr(Room, "take", take)
    run = interrupted(tmp_path, quiet, type(error), **LOOKS)
    assert (run.stopped, run.traffic.options["segments"]) == (told, 1)


def test_a_server_that_is_gone_between_two_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = measuring.send

    def send(load: Any, *others: Any) -> Any:
        if others[0].name == "segment-1":
            with socket.create_server(("127.0.0.1", 0)) as nobody:
                address = f"127.0.0.1:{nobody.getsockname()[1]}"
            load = replace(load, serving=replace(load.serving, http_address=address))
        return real(load, *others)

    monkeypatch.setattr(measuring, "send", send)
    run = interrupted(tmp_path, quiet, ProblemsError, **LOOKS)
    assert run.stopped is not None
    assert run.stopped.startswith("no server answers at 127.0.0.1:")


@pytest.mark.parametrize("interrupts", [1, 2])
def test_senders_that_do_not_end(interrupts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are ended together, and at once by another Ctrl-C."""
    stop_s = 6.0 if interrupts == 1 else 60.0
    monkeypatch.setattr(process, "STOP_S", stop_s)
    began: list[float] = []

    def tell(text: str) -> None:
        if "answered " in text and "answered 0" not in text and not began:
            for child in psutil.Process().children(recursive=True):
                if "loadtest.sender" in child.cmdline():
                    child.suspend()
            began.append(time.monotonic())
            for _ in range(interrupts - 1):
                again = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
                again.daemon = True
                again.start()
            os.kill(os.getpid(), signal.SIGINT)

    run = interrupted(tmp_path, tell, duration_s=60.0, senders=3)
    assert time.monotonic() - began[0] < (2 * stop_s if interrupts == 1 else stop_s)
    assert run.stopped == "interrupted"
    assert run.requests > 0


def test_once_more_while_the_server_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for any longer than the senders wait: what it has counted is not known then."""
    waited, told, real = list[float](), interrupting("answered ", 8), splits.read_after

    def hangs(*arguments: Any) -> Any:
        if begun:  # before, the payloads were asked, and it counts them
            waited.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        return real(*arguments)

    begun: list[str] = []

    def tell(text: str) -> None:
        begun.extend(["sent"] if "answered " in text else [])
        told(text)

    monkeypatch.setattr(splits, "read_after", hangs)
    run = interrupted(tmp_path, tell, duration_s=60.0)
    assert time.monotonic() - waited[0] < 30
    assert (run.stopped, run.splits) == ("interrupted", [])
    assert any(
        warning.endswith("nothing is known of where time went: interrupted") for warning in run.validity.warnings
    )


def test_once_more_while_what_was_sent_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = measuring.Session.result

    def result(*arguments: Any, **named: Any) -> Run:
        os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments, **named)

    monkeypatch.setattr(measuring.Session, "result", result)
    run = interrupted(tmp_path, interrupting("answered ", 8), duration_s=60.0)
    assert run.stopped == "interrupted"
    assert run.requests > 10


def test_noted_signals_have_their_handlers_again() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    outside = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        with interrupts_noted() as noted:
            for number in numbers:
                os.kill(os.getpid(), number)
        assert tuple(noted) == numbers
        assert {signal.getsignal(number) for number in numbers} == {signal.default_int_handler}
        for ignored in (signal.SIG_IGN, signal.SIG_DFL):
            signal.signal(signal.SIGHUP, ignored)
            with interrupts_noted():
                assert signal.getsignal(signal.SIGHUP) is ignored
    finally:
        for number, handler in outside.items():
            signal.signal(number, handler)


def test_in_another_thread_there_is_nothing_to_note() -> None:
    seen: list[list[int]] = []

    def work() -> None:
        with interrupts_noted() as noted:
            seen.append(noted)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [[]]
