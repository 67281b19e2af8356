"""What a process sees of itself: its CPU by the second, pauses of garbage collection, the clock's resolution."""

from __future__ import annotations

import ctypes
import gc
import os
import time
from itertools import pairwise
from types import TracebackType

_PR_SET_TIMERSLACK = 29
_WINDOW_NS = 1_000_000_000
_ALL_OF_A_CORE = 0.9


def clock_resolution_ns(readings: int = 2000) -> int:
    """The smallest step that CLOCK_MONOTONIC was seen to make, as Python reads it."""
    seen = [time.monotonic_ns() for _ in range(readings)]
    steps = [after - before for before, after in pairwise(seen) if after > before]
    return min(steps, default=round(time.get_clock_info("monotonic").resolution * 1e9))


def exact_timers() -> None:
    """Timeouts of this thread may not be rounded: by default the kernel delays them by up to 50 µs."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1)


def real_time(*, wanted: bool) -> bool:
    """Whether this thread now runs as soon as it could, whoever else computes: root may, as a rule. Or sets it back.

    Sending takes little of a core, but each request at its time: who computes on the same core would delay it by
    milliseconds, and that would look like the server's latency. Threads that are started later are ordinary ones.
    """
    policy = os.SCHED_FIFO if wanted else os.SCHED_OTHER
    try:
        first = os.sched_param(os.sched_get_priority_min(policy))
        os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, first)
    except OSError:
        return False
    return wanted


class Watch:
    """Watches while it is entered; garbage collection rests meanwhile. `look()` every now and then.

    `real_time`: this thread is; it gives that up when it takes all of a core, for the machine would stand still.
    """

    def __init__(self, *, real_time: bool = False) -> None:
        self.real_time = real_time
        self.busiest_core = 0.0
        self.gc_pauses = self.gc_longest_ns = 0
        self.cpu_s = 0.0
        self._gc_began_ns = 0

    def __enter__(self) -> Watch:
        gc.collect()
        gc.freeze()
        gc.disable()
        gc.callbacks.append(self._collected)
        self._cpu_ns = self._first_cpu_ns = time.process_time_ns()
        self._wall_ns = time.monotonic_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cpu_ns = time.process_time_ns()
        self.cpu_s = (cpu_ns - self._first_cpu_ns) / 1e9
        if not self.busiest_core:  # shorter than one window
            self.busiest_core = (cpu_ns - self._cpu_ns) / max(time.monotonic_ns() - self._wall_ns, 1)
        gc.callbacks.remove(self._collected)
        gc.enable()
        gc.unfreeze()

    def look(self) -> None:
        """Ends a window when a second has passed."""
        wall_ns = time.monotonic_ns()
        if wall_ns - self._wall_ns >= _WINDOW_NS:
            cpu_ns = time.process_time_ns()
            share = (cpu_ns - self._cpu_ns) / (wall_ns - self._wall_ns)
            self.busiest_core = max(self.busiest_core, share)
            if self.real_time and share > _ALL_OF_A_CORE:
                self.real_time = real_time(wanted=False)
            self._wall_ns, self._cpu_ns = wall_ns, cpu_ns

    def _collected(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._gc_began_ns = time.monotonic_ns()
        else:
            self.gc_pauses += 1
            self.gc_longest_ns = max(self.gc_longest_ns, time.monotonic_ns() - self._gc_began_ns)
