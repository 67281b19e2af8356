"""Which of the batches that wait become one, and when that one is started."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from time import perf_counter

from tritonkit_runtime.buffered.buckets import Buckets
from tritonkit_runtime.buffered.lane import Lane
from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.buffered.shapes import Size
from tritonkit_runtime.device import Device

# A new time counts for so much of what is known of a size, once a few are: one that had to wait spoils little.
_WEIGHT = 0.2
# And a shorter one for so much: nothing held it up, unless the end of the one before was noticed late.
_SHORTER = 0.4
# Every so many batches as much as fits is one, whatever is known: a size that was once slow is tried again.
TRY_EVERY = 32
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
        self._seen: Counter[int] = Counter()

    def guess(self, alone_s: Mapping[int, float]) -> None:
        """What each bucket took when it was tried, which may have been while others had the device.

        So none is taken to be longer than a larger one, nor than as many items in batches of a smaller one.
        """
        sizes = sorted(alone_s)
        found = dict(alone_s)
        for small, large in reversed(list(pairwise(sizes))):
            found[small] = min(found[small], found[large])
        for small, large in pairwise(sizes):
            found[large] = min(found[large], found[small] * large / small)
        for size in sizes:
            self.learn(size, found[size])

    def learn(self, bucket: int, took_s: float) -> None:
        """A batch of this bucket took so long from when it could begin."""
        self._seen[bucket] += 1
        before = self._known_s.get(bucket, 0.0)
        weight = max(_SHORTER if took_s < before else _WEIGHT, 1 / self._seen[bucket])
        self._known_s[bucket] = before + weight * (took_s - before)

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
        alone_s = {}
        for bucket in ring.buckets.sizes:
            run = partial(lane.put, Size(bucket), inside=False)
            alone_s[bucket] = min(_timed(device, lane, run) for _ in range(looks))
        times.guess(alone_s)
        return times
    finally:
        ring.give_back(lane)


def _timed(device: Device, lane: Lane, put: Callable[[], None]) -> float:
    """Seconds until what was put into the lane's stream is done."""
    began = perf_counter()
    put()
    device.wait(lane.stream)
    return perf_counter() - began


def chosen(waiting: Sequence[int], buckets: Buckets, times: Times, *, trying: bool = False) -> int:
    """How many of the batches that wait (their items, the oldest first) are run as one; at least one.

    Those that together leave the most items done in a second: 96 in a bucket of 128 may be slower than 64 in their
    own and 32 with what comes. Of a bucket that never ran it is taken that its time is its size. `trying`: as many as
    fit.
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
        if trying or rate >= most:
            best, most = count, rate
    return best


def hold_s(waiting_items: int, largest: int, until_done_s: float, ready_s: float) -> float:
    """How long what waits may wait for more, so that it still begins when the device has nothing to do any more.

    `until_done_s`: until all that was started is done, as far as is known; `ready_s`: what the rows need until they
    are there. A full bucket waits for nothing.
    """
    return 0.0 if waiting_items >= largest else max(0.0, until_done_s - _AHEAD_S - ready_s)
