"""The loop that sends each request when it is due, whatever became of those before: an open loop."""

from __future__ import annotations

import time
from collections.abc import Callable

from loadtest.samples.record import Outcome
from loadtest.sender.clients.base import Client, Work

AT_ONCE = 8  # so many requests that are due are sent before answers are looked for: both are late else
LONGEST_WAIT_S = 0.005  # how late a deadline or a signal is seen at most
CANCELLING_WAIT_S = 0.0005
FLUSH_NS, FLUSH_AT_LEAST_NS = 200_000_000, 1_000_000_000
ROOM_NS = 1_000_000  # flushing waits for a gap between requests that is so long
GRACE_NS = 2_000_000_000  # how long a stopped run waits for what is in flight


class Pace:
    """Sends all of a schedule. `tell(sent)` is called now and then; it must not wait."""

    def __init__(self, work: Work, client: Client, tell: Callable[[int], None]) -> None:
        self._work, self._client, self._tell = work, client, tell
        self._flushed_ns = 0
        self._is_whole = False
        self.sent = 0
        self.stopped: str | None = None
        self._stopped_at_ns = 0  # of CLOCK_MONOTONIC: the start may not be known yet

    def stop(self, why: str) -> None:
        """Nothing more is sent; what is in flight gets GRACE_NS. From a signal or another thread, once or often.

        Where all was sent and answered nothing was stopped.
        """
        if self._is_whole:
            return
        self._stopped_at_ns = self._stopped_at_ns or time.monotonic_ns()
        self.stopped = self.stopped or why

    def run(self) -> None:
        """Until everything is sent and answered, or `stopped` is set. Raises OSError when samples cannot be kept."""
        self._send()
        stopped_ns = 0
        while self._client.in_flight and (not stopped_ns or self._now_ns() - stopped_ns < GRACE_NS):
            stopped_ns = stopped_ns or (self._now_ns() if self.stopped else 0)
            self._client.wait(LONGEST_WAIT_S)
            self._client.expire(self._now_ns())
            self._chores(FLUSH_NS)
        if self.sent == len(self._work.due_ns) and not self._client.in_flight:
            self._is_whole, self.stopped = True, None
        if self.stopped and self._work.start_ns:
            self._account()
        self._tell(self.sent)

    def _account(self) -> None:
        """A sample for each request that was due before the end and has none: it went no better for being stopped."""
        self._client.wait(0)
        self._client.give_up()
        work, now_ns, end_ns = self._work, self._now_ns(), self._stopped_at_ns - self._work.start_ns
        for index in range(self.sent, len(work.due_ns)):
            if work.due_ns[index] > end_ns:
                break
            work.ledger.record(index, now_ns, now_ns, Outcome.UNSENT, 0)

    def _send(self) -> None:
        work, client, due_ns = self._work, self._client, self._work.due_ns
        deadline_ns = work.orders.deadline_us * 1000
        longest_s = LONGEST_WAIT_S if work.cancel is None else CANCELLING_WAIT_S
        index, count = 0, len(due_ns)
        while index < count and self.stopped is None:
            now_ns = self._now_ns()
            end = min(index + AT_ONCE, count)
            while index < end and due_ns[index] <= now_ns:
                if now_ns - due_ns[index] > deadline_ns:
                    # It could only be answered too late. Sending it would make all that follow later still.
                    late = "more than the deadline behind the schedule, so not sent"
                    work.ledger.failed(index, now_ns, now_ns, Outcome.TIMEOUT, late)
                else:
                    client.send(index)
                index += 1
            self.sent = index
            client.expire(now_ns)
            now_ns = self._now_ns()
            room_ns = due_ns[index] - now_ns if index < count else 0
            if room_ns > 0:
                self._chores(room_ns)
                client.wait(min((due_ns[index] - self._now_ns()) / 1e9, longest_s))
            else:
                self._chores(room_ns)
                client.wait(0)

    def _chores(self, room_ns: int) -> None:
        """Keeps samples and tells how far it is, when there is time for it, and when it must be."""
        since_ns = self._now_ns() - self._flushed_ns
        if since_ns > FLUSH_NS and (room_ns > ROOM_NS or since_ns > FLUSH_AT_LEAST_NS):
            self._flushed_ns += since_ns
            self._work.ledger.flush()
            self._tell(self.sent)

    def _now_ns(self) -> int:
        return time.monotonic_ns() - self._work.start_ns
