"""When a server that is not ours counts as gone."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from loadtest.run import sending
from loadtest.run.sending import Alive
from loadtest.run.serving import Serving

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
UNREACHABLE = OSError(errno.EHOSTUNREACH, "No route to host")
NO_NETWORK = OSError(errno.ENETUNREACH, "Network is unreachable")
SILENT = TimeoutError("timed out")
NOT_READY = ValueError("status 400: not live")
OTHER = OSError(errno.EMFILE, "Too many open files")


class World:
    """A clock, and how the server's health is answered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s, self.answer = 1000.0, None
        monkeypatch.setattr(sending.time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(sending, "ask", self.asked)
        self.alive = Alive(Serving((), Path(), "192.0.2.1:8000", "192.0.2.1:8001", "embedded"))

    answer: Exception | None

    def asked(self, *_: Any, **__: Any) -> None:
        """Of its health."""
        if self.answer is not None:
            raise self.answer

    def gone_after_s(self, answer: Exception | None, most_s: int = 120) -> int | None:
        """So many seconds of this answer; None: not within `most_s`."""
        self.answer = answer
        for second in range(1, most_s):
            self.now_s += 1
            if self.alive.is_gone():
                return second
        return None


@pytest.mark.parametrize("answer", [REFUSED, UNREACHABLE, NO_NETWORK], ids=str)
def test_what_refuses_or_cannot_be_reached_is_gone_soon(answer: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    assert World(monkeypatch).gone_after_s(answer) == 6


def test_what_is_silent_may_be_slow_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    assert World(monkeypatch).gone_after_s(SILENT) == 31


@pytest.mark.parametrize("answer", [None, NOT_READY, OTHER], ids=str)
def test_what_answers_is_there(answer: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert World(monkeypatch).gone_after_s(answer) is None


def test_an_answer_between_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    for _ in range(20):
        assert world.gone_after_s(REFUSED, 5) is None
        assert world.gone_after_s(None, 3) is None
