"""A simulated run, looked at and judged by the code of `tritonkit load run --until-decided`.

Its samples are made of simulated latencies, all answered. At each look the warm-up is searched and let go, and what
is left is judged against a promise, as `loadtest.run.session` does it; a decided bound is not looked at again. What
the senders of a real run say of themselves has no part in it, and neither have the pauses between its segments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from loadtest.run.asked import Promise
from loadtest.run.judging import judged, window_of
from loadtest.samples.record import SAMPLE
from loadtest.statistics import dependence
from loadtest.truth import warm_up

if TYPE_CHECKING:
    from loadtest.results.run import JudgementRecord
    from loadtest.run.judging import Window
    from loadtest.samples.record import Samples
    from loadtest.statistics.looks import Looks

UNIT_US = 10_000
"""What simulated latencies are in, a mean service time; requests are due as far apart."""
DEADLINE_US = 60_000_000
"""Nothing fails here, so that it counts nowhere."""
ERROR_RATE = 0.01
"""Of the promise. With 0.001, the default, 5,000 requests without an error do not yet pass, whatever their p99."""
STATES = {"pass": 1, "fail": -1, "undecided": 0}


@contextmanager
def remembered() -> Iterator[None]:
    """Meanwhile `dependence.raised` is not reckoned twice of the same: the bounds of a look have levels in common."""
    reckoned = dependence.raised

    @lru_cache(maxsize=64)
    def of(packed: bytes, count: int) -> float:
        return reckoned(np.unpackbits(np.frombuffer(packed, np.uint8), count=count).astype(bool))

    dependence.raised = lambda over: of(np.packbits(over).tobytes(), len(over))
    try:
        yield
    finally:
        dependence.raised = reckoned


def samples_of(latencies: Any) -> Samples:
    """What a run with these latencies [n] would have kept."""
    found = np.zeros(len(latencies), SAMPLE)
    found["due_us"] = np.arange(len(latencies)) * UNIT_US
    found["latency_us"] = np.rint(latencies * UNIT_US)
    return found


def window_at(samples: Samples) -> Window:
    """What counts of the samples up to a look."""
    found = warm_up.find(samples["due_us"], samples["latency_us"])
    window = window_of(samples, found.index, found.how if found.too_long else "")
    return window if found.index else replace(window, warm=None)  # nothing is put before them again at every bound


def judge_at(window: Window, bound: float, confidence: float) -> JudgementRecord:
    """The tool's verdict on one bound."""
    promises = {"queue": Promise(p99_ms=bound * UNIT_US / 1000, max_error_rate=ERROR_RATE)}
    return judged(window, promises, DEADLINE_US, [], confidence)


def first_verdicts(latencies: Any, bounds: Sequence[float], looks: Looks, confidence: float) -> tuple[Any, list[int]]:
    """For each bound [bounds]: 1 + the number of the look that passed it, minus that for a fail, 0 for undecided.

    And how many requests each look let go as a warm-up.
    """
    samples, state, warm = samples_of(latencies), np.zeros(len(bounds), int), []
    for look, at in enumerate(looks.at):
        window, sure = window_at(samples[:at]), looks.confidence(look, confidence)
        warm.append(at - len(window.samples))
        for place in np.flatnonzero(state == 0):
            state[place] = STATES[judge_at(window, bounds[place], sure).verdict] * (look + 1)
    return state, warm
