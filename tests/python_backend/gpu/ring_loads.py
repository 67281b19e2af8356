"""What tests of several engines put on a ring: requests in company, and batches of every size."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from tritonkit_runtime.batch import Tensors
from tritonkit_runtime.buffered.requests import Answer, Pending, begin
from tritonkit_runtime.buffered.ring import Ring

UNDER_WAY = 3
MOST_ITEMS = 64


def answered_in_company(
    ring: Ring, request: Callable[[int, int], Tensors], groups: int, seed: int
) -> Iterator[tuple[Tensors, Answer]]:
    """Each request and its answer: groups of three of 1 to 19 items, of which up to UNDER_WAY are under way.

    `request` makes one of so many items and a number that no other has.
    """
    lot, pending = np.random.default_rng(seed), deque[tuple[list[Tensors], Pending]]()
    for number in range(groups):
        requests = [request(int(items), 100 * number + i) for i, items in enumerate(lot.integers(1, 20, size=3))]
        pending.append((requests, begin(ring, requests)))
        while len(pending) >= UNDER_WAY or (pending and number == groups - 1):
            asked, started = pending.popleft()
            yield from zip(asked, started.answers(), strict=True)


def run_every_size(ring: Ring, batches: int) -> None:
    """Batches of 1 to MOST_ITEMS items, one after the other; what they hold is whatever lies there."""
    for items in np.random.default_rng(0).integers(1, MOST_ITEMS + 1, size=batches):
        lane = ring.take()
        ring.start(lane, int(items))
        ring.finish(lane)
        ring.give_back(lane)
