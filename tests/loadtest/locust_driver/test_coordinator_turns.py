"""A second start while the first run is still being judged: one after the other, and none ends the other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.event import Event

from loadtest.locust_driver import coordinator
from loadtest.locust_driver.coordinator import Coordinator
from loadtest.locust_driver.messages import DONE

SOON_S = 10.0


class Slow:
    """A round that ends when it is stopped, and takes a moment for that."""

    def __init__(self, environment: Any) -> None:
        self.seen: list[Any] = environment.seen
        self.name = len(environment.rounds)
        environment.rounds.append(self)
        self.stopped, self.judged, self.folder = Event(), Event(), None

    def stop(self) -> None:
        """As the page does."""
        self.stopped.set()

    def told(self, kind: str, data: Any) -> None:
        """By a worker."""
        self.seen.append((self.name, kind, data))

    def measured(self) -> Any:
        """A run that passes."""
        self.seen.append((self.name, "begins"))
        assert self.stopped.wait(SOON_S)
        assert self.judged.wait(SOON_S)
        self.seen.append((self.name, "ends"))
        return SimpleNamespace(judgement=SimpleNamespace(verdict="pass", why=""), stopped=None, pipeline="a")


def hook() -> Any:
    """One of Locust's events."""
    found = SimpleNamespace(listeners=[])
    found.add_listener = found.listeners.append
    found.fire = lambda: [listener() for listener in found.listeners]
    return found


def test_they_do_not_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "Round", Slow)
    listeners: dict[str, Any] = {}
    ended: list[str] = []
    runner = SimpleNamespace(
        register_message=listeners.__setitem__, stop=lambda: ended.append("stop"), quit=lambda: ended.append("quit")
    )
    events = SimpleNamespace(test_start=hook(), test_stop=hook(), quitting=hook(), quit=hook())
    environment = SimpleNamespace(
        runner=runner, events=events, rounds=[], seen=[], parsed_options=SimpleNamespace(headless=False),
        process_exit_code=None,
    )  # fmt: skip
    made = Coordinator(environment)
    events.test_start.fire()
    gevent.sleep(0.01)
    events.test_start.fire()  # while the first is at it
    gevent.sleep(0.01)
    _, first, second = environment.rounds
    listeners[DONE](environment=environment, msg=SimpleNamespace(type=DONE, data="late"))
    first.judged.set()
    gevent.sleep(0.01)
    assert environment.seen == [(1, "begins"), (1, DONE, "late"), (1, "ends"), (2, "begins")]
    assert ended == [], "the end of the first is not the second's"
    second.judged.set()
    events.test_stop.fire()
    with gevent.Timeout(SOON_S):
        while not ended:
            gevent.sleep(0.01)
    assert ended == ["stop"]
    assert environment.seen[-1] == (2, "ends")
    assert (environment.process_exit_code, made.run is not None) == (0, True)


def test_a_mistake_of_ours_ends_locust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own loop would print its table for ever, and then say that all was well."""

    class Broken(Slow):
        def measured(self) -> Any:
            raise ZeroDivisionError

    monkeypatch.setattr(coordinator, "Round", Broken)
    ended: list[str] = []
    runner = SimpleNamespace(register_message=lambda *_: None, quit=lambda: ended.append("quit"))
    events = SimpleNamespace(test_start=hook(), test_stop=hook(), quitting=hook(), quit=hook())
    environment = SimpleNamespace(
        runner=runner, events=events, rounds=[], seen=[], parsed_options=SimpleNamespace(headless=True),
        process_exit_code=None,
    )  # fmt: skip
    Coordinator(environment)
    events.test_start.fire()
    with gevent.Timeout(SOON_S):
        while not ended:
            gevent.sleep(0.01)
    assert (ended, environment.process_exit_code) == (["quit"], 2)
