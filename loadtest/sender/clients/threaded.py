"""What the clients of tritonclient share: answers come in other threads, and are recorded by the one that sends."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from loadtest.samples.record import Outcome
from loadtest.sender.clients.base import GIVEN_UP, Work
from loadtest.sender.clients.triton_inputs import failure_of

SWITCH_S = 0.0001  # a thread that computes gives way to the one that sends after this long; Python's own is 5 ms
OK_STATUS = {"http": 200, "grpc": 0}
Finished = tuple[int, int, int, Any]
"""Request, when it was sent, when it was answered, and the answer or an exception."""


class Threaded:
    """Half of a `Client`: `finished` may be appended to by any thread."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._deadline_ns = work.orders.deadline_us * 1000
        self._ok = OK_STATUS[work.orders.protocol]
        self.finished: deque[Finished] = deque()
        self._taken_ns: dict[int, int] = {}  # of what is under way: when the sender came to it
        self.in_flight = self.connections_opened = self.waited_for_connection = 0
        sys.setswitchinterval(SWITCH_S)

    def wait(self, timeout_s: float) -> None:
        """Records what has been answered; sleeps for the time if that is nothing. Answers have their own time."""
        if not self.finished and timeout_s > 0:
            time.sleep(timeout_s)
        while self.finished:
            self._record(*self.finished.popleft())

    def give_up(self) -> None:
        """Records whatever is under way as a timeout; what comes of it later is not looked at."""
        now_ns = self._now_ns()
        for index, taken_ns in self._taken_ns.items():
            self._work.ledger.failed(index, taken_ns, now_ns, Outcome.TIMEOUT, GIVEN_UP)
        self._taken_ns.clear()

    def _record(self, index: int, sent_ns: int, done_ns: int, answer: Any) -> None:
        self.in_flight -= 1
        del self._taken_ns[index]
        ledger, kept = self._work.ledger, self._work.kept
        if isinstance(answer, Exception):
            outcome, status, words = failure_of(answer)
            ledger.failed(index, sent_ns, done_ns, outcome, words, status=status)
        elif done_ns - self._work.due_ns[index] > self._deadline_ns:
            ledger.failed(index, sent_ns, done_ns, Outcome.TIMEOUT, "an answer after the deadline", status=self._ok)
        else:
            ledger.record(index, sent_ns, done_ns, Outcome.OK, self._ok)
            if kept is not None:
                kept[index] = answer

    def _left_s(self, index: int) -> float:
        """Until the deadline of a request."""
        return (self._work.due_ns[index] + self._deadline_ns - self._now_ns()) / 1e9

    def _now_ns(self) -> int:
        return time.monotonic_ns() - self._work.start_ns


def connected(reach: Callable[[], object]) -> None:
    """Does what needs the server. Raises OSError when it cannot be reached, whatever tritonclient raises."""
    try:
        reach()
    except OSError:
        raise
    except Exception as error:
        raise ConnectionError(failure_of(error)[2]) from error
