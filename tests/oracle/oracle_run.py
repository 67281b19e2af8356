"""Many mutants, over one or more servers at a time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from oracle_judge import Judged, judge
from oracle_kind import COMPLETE, NAMED, PLAIN, Kind
from oracle_live import Live
from oracle_mutant import make
from oracle_totals import Totals

KINDS = (PLAIN, NAMED, COMPLETE)
_COMPLETE_EACH, _NAMED_EACH = 20, 12
"""Of so many mutants one is asked of such a server; where configs are completed, each model costs a second more."""

_SHOW_S = 20.0


@dataclass(frozen=True)
class Task:
    """One mutant, and its kind of server."""

    seed: str
    number: int
    kind: Kind


def tasks(seeds: Sequence[str], mutants: int) -> list[Task]:
    """All tasks; those of one kind of server stand together."""
    found = [Task(seed, number, _kind(number)) for seed in seeds for number in range(mutants)]
    return sorted(found, key=lambda task: KINDS.index(task.kind))


def _kind(number: int) -> Kind:
    if number % _COMPLETE_EACH == 7:
        return COMPLETE
    return NAMED if number % _NAMED_EACH == 5 else PLAIN


class Queue:
    """Hands out tasks to several workers, in order, one kind of server after the other."""

    def __init__(self, left: list[Task]) -> None:
        self._left = list(reversed(left))
        self._lock = threading.Lock()

    def take(self, kind: Kind) -> Task | None:
        """The next task for a server of that kind; None when there is none."""
        with self._lock:
            if self._left and self._left[-1].kind == kind:
                return self._left.pop()
            return None


def run(
    seeds: Sequence[str],
    mutants: int,
    *,
    servers: int,
    on_judged: Callable[[Live, Judged], None],
    quiet: bool = False,
) -> Totals:
    """Judge `mutants` of each seed. `on_judged` is called in the worker's thread, whose server it may use."""
    totals = Totals(list(seeds))
    queue, lock, began = Queue(tasks(seeds, mutants)), threading.Lock(), time.monotonic()
    shown = [began]

    def work(_worker: int) -> None:
        for kind in KINDS:
            for live, judged in _judged(queue, kind):
                on_judged(live, judged)
                with lock:
                    totals.add(judged)
                    if not quiet and time.monotonic() - shown[0] > _SHOW_S:
                        shown[0] = time.monotonic()
                        _show(totals, mutants * len(seeds), time.monotonic() - began)

    with ThreadPoolExecutor(servers) as pool:
        list(pool.map(work, range(servers)))
    totals.seconds = time.monotonic() - began
    return totals


def _judged(queue: Queue, kind: Kind) -> Iterator[tuple[Live, Judged]]:
    task = queue.take(kind)
    if task is None:
        return
    with Live(kind) as live:
        while task is not None:
            yield live, judge(live, make(task.seed, task.number, kind))
            task = queue.take(kind)


def _show(totals: Totals, of: int, seconds: float) -> None:
    print(
        f"{totals.mutants} of {of} in {seconds:.0f} s, {totals.share:.0%} accepted, "
        f"{totals.mutants_that_disagree} disagree",
        file=sys.stderr,
        flush=True,
    )
