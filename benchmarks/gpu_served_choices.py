"""What gpu_served.py may choose from: instances, what their queue waits for, and whose process runs the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpu_served_models import Model, fitting

from generator.resolve.shared_process import sizes_together

# Instances that share an engine need no whole batches, since its process makes them: so long they wait for their own.
SHARED_DELAY_US = 1000


@dataclass(frozen=True)
class Choice:
    """A served model to try, and the model that answers alone with as many instances.

    `waits_for`: the size of batch that its queue waits for (0: whatever there is), for `delay_us` at most. `shared`:
    the largest batch of an instance whose engine runs in a process that all share (0: in each of them).
    """

    instances: int
    served: str
    idle: str
    waits_for: int = 0
    shared: int = 0

    @property
    def batching(self) -> dict[str, Any]:
        """Of a model's fields; the delay is about as long as so many items take to come."""
        return {"preferred": [self.waits_for], "delay_us": 60 * self.waits_for} if self.waits_for else {}


def choices_of(
    word: str, counts: Sequence[int], waiting: Sequence[tuple[int, int]], shared: Sequence[tuple[int, int]],
    *, item_bytes: int, largest: int,
) -> list[Choice]:  # fmt: skip
    """What a row may choose from: instances that take what there is, such that wait for a whole bucket, and such
    whose engine is in a process that they share.
    """
    plain = fitting(counts, 3, 4, item_bytes, largest)
    found = [Choice(n, f"{word}served_{n}", f"{word}idle_{n}") for n in plain]
    # Where shared memory is short there is room for the others only as far as for the plain ones.
    fits = len(plain) == len(counts)
    waiting = [(n, size) for n, size in waiting if size <= largest and fits]
    found += [Choice(n, f"{word}waits_{n}_{size}", f"{word}idle_{n}", size) for n, size in waiting]
    shared = [(n, size) for n, size in shared if size <= largest]
    return found + [Choice(n, f"{word}shared_{n}_{size}", f"{word}idle_{n}", 0, size) for n, size in shared]


def finer(largest: int) -> tuple[int, ...]:
    """Powers of two, and one more between each two from 8 on: 1, 2, 4, 8, 12, 16, 24, 32, ..."""
    powers = [1 << power for power in range(largest.bit_length()) if 1 << power < largest]
    between = [size * 3 // 2 for size in powers if size >= 8 and size * 3 // 2 < largest]
    return tuple(sorted({*powers, *between, largest}))


def for_items(choices: Sequence[Choice], items: int, *, small: bool = False) -> list[Choice]:
    """What requests of so many items choose from: many instances with small batches, which for one image a request
    are compared with engines of their own, too; `small` items fewer instances with larger batches.
    """
    if small:
        found = [one for one in choices if one.instances <= 16]
    else:
        found = [one for one in choices if one.shared <= 16 and (one.shared or items == 1)]
    return found or list(choices)


def of_choice(model: Model, one: Choice, largest: int) -> Model:
    """The model as the choice has it. An engine that is shared has its usual sizes of batch, up to `largest`."""
    if not one.shared:
        return replace(model, **one.batching)
    sizes = tuple(size for size in sizes_together(one.shared, one.instances) if size <= largest)
    return replace(model, largest=one.shared, delay_us=SHARED_DELAY_US, buckets=sizes, buffers={"process": "shared"})
