"""Who is measured when: every case once a round, in a new order each, and requests in an endless one."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

Case = TypeVar("Case")


def rounds(cases: Sequence[Case], count: int, seed: int) -> Iterator[tuple[int, Case]]:
    """(round, case): every case once a round, in a new seeded order each, so that a slow minute hits all alike."""
    order = random.Random(seed)  # noqa: S311
    for number in range(1, count + 1):
        for case in order.sample(list(cases), len(cases)):
            yield number, case


def endless_order(requests: int, seed: int) -> Iterator[int]:
    """Every request once in a new seeded order, again and again: any stretch has nearly the same ones."""
    order = random.Random(seed)  # noqa: S311
    while True:
        yield from order.sample(range(requests), requests)
