"""Triton's dynamic batcher as a simulation: requests of one item, one model, no queue policy, no priorities.

Written from the rules that the server follows: one batcher thread puts waiting requests into payloads, a FIFO of
payloads that at most two an instance wait in, and instances that take the next one when they are free. A payload may
grow until an instance takes it. Threads cost nothing here, and nothing but the service takes time.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PREFETCH = 2  # payloads that may wait, by instance
_SERVED, _AGAIN = 0, 1


@dataclass(frozen=True)
class Batcher:
    """What a model's configuration says. `preferred` empty means the largest batch."""

    delay_us: int
    instances: int = 1
    max_batch: int = 32
    preferred: tuple[int, ...] = ()


class _Payload:
    """A batch that is being put together: `taken` once an instance runs it."""

    __slots__ = ("members", "queued", "saturated", "taken")

    def __init__(self) -> None:
        self.members: list[int] = []
        self.saturated = self.taken = self.queued = False


class Simulation:
    """One run of a Batcher. Times are microseconds."""

    def __init__(self, batcher: Batcher, service_us: Callable[[int], float]) -> None:
        self._delay_us = float(batcher.delay_us)
        self._most = batcher.max_batch
        self._sizes = tuple(sorted(batcher.preferred)) or (batcher.max_batch,)
        self._instances = batcher.instances
        self._service_us = service_us
        self.batch_sizes: dict[int, int] = {}

    def run(self, arrivals_us: Sequence[float]) -> list[float]:
        """The latency of every request, in the order in which they arrive."""
        arrivals = [float(time) for time in arrivals_us]
        latencies = [0.0] * len(arrivals)
        waiting: deque[int] = deque()
        fifo: deque[_Payload] = deque()
        ends: list[tuple[float, int, _Payload]] = []  # of busy instances
        payload = _Payload()
        next_preferred = 0
        timer = math.inf  # when the batcher wakes by itself
        arrived, count = 0, len(arrivals)
        slots = PREFETCH * self._instances
        while arrived < count or waiting or fifo or ends:
            end = ends[0][0] if ends else math.inf
            arrival = arrivals[arrived] if arrived < count else math.inf
            now = min(arrival, end, timer)
            wake = True
            if now == end:
                for member in heapq.heappop(ends)[2].members:
                    latencies[member] = now - arrivals[member]
                # The instance that has become free looks for its next payload before the batcher is awake.
                self._start(now, arrivals, fifo, ends)
            elif now == arrival:
                waiting.append(arrived)
                arrived += 1
                wake = len(fifo) < slots and (payload.saturated or payload.taken or len(waiting) >= next_preferred)
            while wake:
                payload, next_preferred, timer = self._batch(
                    now, arrivals, waiting, fifo, payload, next_preferred, slots
                )
                wake = self._start(now, arrivals, fifo, ends)
        return latencies

    def _start(
        self, now: float, arrivals: list[float], fifo: deque[_Payload], ends: list[tuple[float, int, _Payload]]
    ) -> bool:
        """Free instances take payloads; whether one did."""
        started = False
        while fifo and len(ends) < self._instances:
            taken = self._take(now, arrivals, fifo)
            heapq.heappush(ends, (now + self._service_us(len(taken.members)), taken.members[0], taken))
            started = True
        return started

    def _take(self, now: float, arrivals: list[float], fifo: deque[_Payload]) -> _Payload:
        """An instance takes the next payload, and those behind it whose oldest request has waited too long."""
        taken = fifo.popleft()
        taken.taken = True
        while self._delay_us and fifo and now - arrivals[fifo[0].members[0]] > self._delay_us:
            if len(taken.members) + len(fifo[0].members) > self._most:
                fifo[0].taken = True  # it is bound next, and grows no more
                break
            other = fifo.popleft()
            other.taken = True
            taken.members += other.members
        self.batch_sizes[len(taken.members)] = self.batch_sizes.get(len(taken.members), 0) + 1
        return taken

    def _batch(  # noqa: PLR0917  (called for every request)
        self, now: float, arrivals: list[float], waiting: deque[int], fifo: deque[_Payload], payload: _Payload,
        next_preferred: int, slots: int,
    ) -> tuple[_Payload, int, float]:  # fmt: skip
        """The batcher's loop until it has to wait: the payload, the next preferred size, and when it wakes."""
        while True:
            if payload.saturated or payload.taken:
                payload, next_preferred = _Payload(), 0
            if not waiting or len(fifo) >= slots:
                return payload, next_preferred, math.inf
            pending, next_preferred, wait_us = self._choose(now - arrivals[waiting[0]], len(waiting), payload,
                                                            next_preferred)  # fmt: skip
            if wait_us > 0:
                return payload, next_preferred, now + wait_us
            if not pending:
                if payload.saturated:
                    continue
                return payload, next_preferred, math.inf
            payload.members += [waiting.popleft() for _ in range(pending)]
            if not payload.queued:
                payload.queued = True
                fifo.append(payload)

    def _choose(
        self, oldest_us: float, queued: int, payload: _Payload, next_preferred: int
    ) -> tuple[int, int, float]:
        """(requests to move into the payload, next preferred size, microseconds to wait)."""
        size, largest = len(payload.members), self._sizes[-1]
        if size < largest:
            pending = min(queued, self._most - size)
            send_now = queued > pending
            best = (
                max((preferred for preferred in self._sizes if size < preferred <= size + pending), default=size)
                - size
            )
        else:
            pending, best, send_now = self._scan(size, queued, payload)
        exceeded = self._delay_us != 0 and oldest_us >= self._delay_us
        if best and not exceeded:
            if self._delay_us == 0:
                payload.saturated = True
            return best, next_preferred, 0.0
        if not pending:
            return 0, next_preferred, 0.0
        if send_now or size + pending >= largest:
            payload.saturated = True
            return pending, next_preferred, 0.0
        if exceeded or self._delay_us == 0:
            return pending, next_preferred, 0.0
        larger = next((preferred for preferred in self._sizes if preferred > size + pending), self._sizes[0])
        next_preferred = larger - size
        if not payload.saturated and size and size not in self._sizes:
            return pending, next_preferred, 0.0
        return 0, next_preferred, max(1.0, math.floor(self._delay_us - oldest_us))

    def _scan(self, size: int, queued: int, payload: _Payload) -> tuple[int, int, bool]:
        """(pending, best, whether to send now) for a payload that has the largest preferred size already."""
        pending = best = 0
        for _ in range(queued):
            if best == 0:
                best = pending
                payload.saturated = True
            if size + pending + 1 > self._most:
                return pending, best, True
            pending += 1
        return pending, best, False
