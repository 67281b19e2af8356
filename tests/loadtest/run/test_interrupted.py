"""One interrupt at any time keeps what was sent: a whole run, or one that is marked as stopped."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from steady_server import steady

sys.path.insert(0, str(Path(__file__).parent))

from load_tools import Digits, quiet

from loadtest.results.run import Run, read_run
from loadtest.run import measure as measuring
from loadtest.run.interrupts import interrupts_noted
from loadtest.run.measure import measure
from loadtest.samples.file import read_samples
from loadtest.sender.process import Sending

LOOKS = {"rate_rps": 200.0, "duration_s": 0.5, "budget_s": 2.0}  # three of them, and none of them decides


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


def interrupted(folder: Path, tell: Callable[[str], None], **asked: Any) -> Run:
    """What is left of a run, which is nothing but the run."""
    with steady(least_ms=2, spread_ms=2) as server:
        digits = Digits(server)
        with pytest.raises(KeyboardInterrupt):
            measure(digits.asked(**asked), digits.serving, digits.payloads, folder, tell, extend="budget_s" in asked)
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "samples.bin"]
    run = read_run(folder)
    assert len(read_samples(folder / "samples.bin")[1]) == run.requests
    return run


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
    real, ended = Sending.stop, list[Sending]()

    def stop(sending: Sending) -> None:
        if not ended:
            os.kill(os.getpid(), signal.SIGINT)
        ended.append(sending)
        real(sending)

    monkeypatch.setattr(Sending, "stop", stop)
    run = interrupted(tmp_path, quiet, duration_s=1.0)
    assert (run.stopped, run.outcomes) == ("interrupted", {"ok": run.requests})


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
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with interrupts_noted() as noted:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    assert noted == [signal.SIGINT, signal.SIGINT]
    assert {number: signal.getsignal(number) for number in before} == before


def test_in_another_thread_there_is_nothing_to_note() -> None:
    seen: list[list[int]] = []

    def work() -> None:
        with interrupts_noted() as noted:
            seen.append(noted)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [[]]
