"""A worker that is asked again while it is at it: its part ends, and is no other's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent

from loadtest.locust_driver.messages import CLOCK, DONE, GO, PREPARE, READY, STOP, TIME
from loadtest.locust_driver.worker import Part, Worker

SOON_S = 10.0


class Runner:
    """Takes messages, and hands on what is told."""

    def __init__(self) -> None:
        self.listeners: dict[str, Any] = {}
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.stats = SimpleNamespace(clear_all=lambda: None)
        self.register_message = self.listeners.__setitem__

    def send_message(self, kind: str, what: dict[str, Any]) -> None:
        """From the worker."""
        self.sent.append((kind, what))

    def tell(self, kind: str, run: str, **more: Any) -> None:
        """To the worker."""
        self.listeners[kind](environment=None, msg=SimpleNamespace(data={"run": run, "number": 3, **more}))

    def kinds(self, run: str) -> list[str]:
        """What the worker has told of a run."""
        return [kind for kind, what in self.sent if what["run"] == run and what["number"] == 3]


class Waiting(Worker):
    """Sends nothing, and waits as one that sends does."""

    def _send(self, part: Part, folder: Path) -> None:
        assert folder.is_dir()
        self._tell(part, READY)
        assert part.go.wait(SOON_S)
        assert part.stopped.wait(SOON_S)
        self._tell(part, DONE, started=part.start_unix_ns)


def working() -> tuple[Runner, Any]:
    """A worker, and its end."""
    runner = Runner()
    ends = SimpleNamespace(listeners=[])
    ends.add_listener = ends.listeners.append
    return runner, Waiting(SimpleNamespace(runner=runner, events=SimpleNamespace(test_stop=ends, quitting=ends)))


def until(found: Any) -> None:
    """Until it is so."""
    with gevent.Timeout(SOON_S):
        while not found():
            gevent.sleep(0.01)


def test_the_part_before_ends_before_the_next_begins() -> None:
    runner, worker = working()
    runner.tell(PREPARE, "a")
    until(lambda: READY in runner.kinds("a"))
    runner.tell(GO, "a", unix_ns=1)
    runner.tell(PREPARE, "b")
    until(lambda: READY in runner.kinds("b"))
    assert [(kind, what["run"]) for kind, what in runner.sent] == [(READY, "a"), (DONE, "a"), (READY, "b")]
    runner.tell(GO, "b", unix_ns=2)
    worker.stop()
    until(lambda: DONE in runner.kinds("b"))
    assert runner.sent[-1][1]["started"] == 2


def test_what_another_run_is_told_is_not_heeded() -> None:
    runner, worker = working()
    runner.tell(CLOCK, "a", sent_ns=1)
    runner.tell(PREPARE, "b")
    until(lambda: READY in runner.kinds("b"))
    for kind in (GO, STOP, CLOCK):
        runner.tell(kind, "a", unix_ns=1, sent_ns=1)
    runner.tell(CLOCK, "b", sent_ns=77)
    gevent.sleep(0)
    assert runner.kinds("b") == [READY, TIME]
    assert runner.sent[-1][1]["sent_ns"] == 77
    assert runner.kinds("a") == []
    runner.tell(GO, "b", unix_ns=5)
    runner.tell(STOP, "b")
    until(lambda: DONE in runner.kinds("b"))
    assert runner.sent[-1][1]["started"] == 5
    worker.stop()
