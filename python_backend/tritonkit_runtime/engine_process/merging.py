"""Which of the batches that wait become one, and when that one is started."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

from tritonkit_runtime.buffered.buckets import Buckets
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.buffered.shapes import Size
from tritonkit_runtime.device import Device

# A new time counts for so much of what is known of a size: a few batches settle it, one that had to wait does not.
_WEIGHT = 0.2
# No batch is taken to be shorter than so much of what its bucket took alone.
_LEAST = 0.8
# How long before the batch under way is done the next one is started: what waking, merging and launching take.
_AHEAD_S = 250e-6
# How often everything is measured at the start: the shortest counts.
_LOOKS = 3


class Times:
    """How long batches of each bucket compute, learnt from those that did.

    `bytes_a_second`: how fast rows get to the device. `preparing_s`: what the host needs of an item before that.
    """

    def __init__(self, bytes_a_second: float = math.inf) -> None:
        self.bytes_a_second = bytes_a_second
        self.preparing_s = 0.0
        self._known_s: dict[int, float] = {}
        self._least_s: dict[int, float] = {}

    def learn(self, bucket: int, took_s: float) -> None:
        """A batch of this bucket took so long from when it could begin."""
        before = self._known_s.get(bucket)
        if before is None:
            self._known_s[bucket] = self._least_s[bucket] = took_s
            return
        # Of two batches the second seems short when the end of the first was noticed late.
        took_s = max(took_s, _LEAST * self._least_s[bucket])
        # What is faster than known was not held up by anything else.
        self._known_s[bucket] = took_s if took_s < before else before + _WEIGHT * (took_s - before)

    def learn_preparing(self, items: int, took_s: float) -> None:
        """The host took so long to prepare so many items."""
        one = took_s / items
        self.preparing_s += (_WEIGHT if self.preparing_s else 1.0) * (one - self.preparing_s)

    def of(self, bucket: int) -> float | None:
        """Seconds; None for a bucket that never ran."""
        return self._known_s.get(bucket)


def measured(ring: Ring, device: Device) -> Times:
    """What each bucket computes alone and how fast rows are copied, to choose by from the beginning.

    What they take in company is learnt later. Nobody uses the ring yet.
    """
    lane, looks = ring.take(), 1 if device.unified else _LOOKS
    try:
        device.use()
        largest = Size(ring.buckets.largest)
        copied_bytes = sum(tensor.bytes_of(*largest) for tensor in lane.slot.copied)
        copy_s = min(_timed(device, lane, partial(lane.copy_in, largest, lane.stream)) for _ in range(looks))
        times = Times(math.inf if device.unified or not copied_bytes else copied_bytes / copy_s)
        for bucket in ring.buckets.sizes:
            run = partial(lane.put, Size(bucket), inside=False)
            times.learn(bucket, min(_timed(device, lane, run) for _ in range(looks)))
        return times
    finally:
        ring.give_back(lane)


def _timed(device: Device, lane: Lane, put: Callable[[], None]) -> float:
    """Seconds until what was put into the lane's stream is done."""
    began = perf_counter()
    put()
    device.wait(lane.stream)
    return perf_counter() - began


def chosen(waiting: Sequence[int], buckets: Buckets, times: Times) -> int:
    """How many of the batches that wait (their items, the oldest first) are run as one; at least one.

    Those that together leave the most items done in a second: 96 in a bucket of 128 may be slower than 64 in their
    own and 32 with what comes. Of a bucket that never ran it is taken that its time is its size.
    """
    best, most = 1, 0.0
    items = 0
    known = all(times.of(size) is not None for size in buckets.sizes)
    for count, one in enumerate(waiting, start=1):
        items += one
        if items > buckets.largest:
            break
        bucket = buckets.of(items)
        cost = times.of(bucket) if known else None
        rate = items / (cost or float(bucket))
        if rate >= most:
            best, most = count, rate
    return best


def hold_s(waiting_items: int, largest: int, until_done_s: float, ready_s: float) -> float:
    """How long what waits may wait for more, so that it still begins when the device has nothing to do any more.

    `until_done_s`: until all that was started is done, as far as is known; `ready_s`: what the rows need until they
    are there. A full bucket waits for nothing.
    """
    return 0.0 if waiting_items >= largest else max(0.0, until_done_s - _AHEAD_S - ready_s)
