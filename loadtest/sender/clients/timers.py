"""When a request is given up: past its deadline, or because the traffic has it cancelled."""

from __future__ import annotations

import time
from collections import deque
from typing import Generic, Protocol, TypeVar

from loadtest.samples.record import Outcome
from loadtest.sender.clients.base import CANCEL_AFTER_NS, Work

NO_REQUEST = -1


class Holder(Protocol):
    """What a request is under way in; `index` is NO_REQUEST, or another one's, once it has ended."""

    index: int


H = TypeVar("H", bound=Holder)


class Timers(Generic[H]):
    """Requests begin in the order in which they are due, and all have the same deadline: two queues do."""

    def __init__(self, work: Work) -> None:
        self._work, self._deadline_ns = work, work.orders.deadline_us * 1000
        self._begun: deque[tuple[int, H]] = deque()
        self._to_cancel: deque[tuple[int, int, H]] = deque()

    def begun(self, index: int, holder: H) -> None:
        """From here on its deadline is watched."""
        self._begun.append((index, holder))

    def sent(self, index: int, holder: H) -> None:
        """From here on it may be cancelled, if it is one of those."""
        cancel = self._work.cancel
        if cancel is not None and cancel[index]:
            at_ns = time.monotonic_ns() - self._work.start_ns + CANCEL_AFTER_NS
            self._to_cancel.append((at_ns, index, holder))

    def over(self, now_ns: int) -> list[tuple[H, Outcome]]:
        """What has to be given up now."""
        found: list[tuple[H, Outcome]] = []
        while self._to_cancel and self._to_cancel[0][0] <= now_ns:
            _, index, holder = self._to_cancel.popleft()
            if holder.index == index:
                found.append((holder, Outcome.CANCELLED))
        latest_ns = now_ns - self._deadline_ns
        while self._begun:
            index, holder = self._begun[0]
            if holder.index == index:
                if self._work.due_ns[index] > latest_ns:
                    break
                found.append((holder, Outcome.TIMEOUT))
            self._begun.popleft()
        return found
