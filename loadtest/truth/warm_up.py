"""Where the warm-up of a run ends: found in the latencies, not guessed.

Each latency is replaced by its place among those of the run's second half, from 0 (faster than all) to 1 (slower than
all): an outage in the middle then weighs no more than that some requests were slow. Means of groups are taken of
those places, and the change point is where the two stretches before and after it have the most different levels (the
largest CUSUM, standardised). It counts only if the levels differ beyond what neighbours that depend on each other
explain; then the rest is searched in the same way, so that warm-ups of several steps, or that fade, are found whole.
Sources: Page (1955), "A test for a change in a parameter occurring at an unknown point", Biometrika 42; Pettitt
(1979), "A non-parametric approach to the change-point problem", Applied Statistics 28; searching the rest again:
Vostrikova (1981), "Detecting disorder in multidimensional random processes", Soviet Mathematics Doklady 24.

A few requests at the start may be too few for that, and yet slower than all that comes after: a model that loads when
it is first used. Those in front that are slower than everything in the second half are warm-up too.

What is let go must hide nothing. Only what is slower than the rest is a warm-up. A request that failed is none, and
neither is what comes after it. And no more than a fifth of a run is let go: where more is slower, it did not settle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from loadtest.statistics.dependence import autocovariances, windowed_sum

Floats = np.ndarray[Any, np.dtype[np.float64]]

GROUP, GROUPS, MOST_OF_GROUP = 5, 2000, 500
"""Requests in a group at least, groups in a run at most, and how many requests of a group are looked at."""
MOST = 0.2
"""Of a run may be warm-up."""
LEAST = 40
"""Fewer requests show no warm-up."""
SURE, UNSETTLED = 4.5, 3.5
"""How many standard errors a warm-up is away from what follows, and the end of a run that has not settled."""
APART = 0.1
"""How far apart in places levels have to be, to matter: 0.1 is that 60 of 100 are slower than usual."""
SECTIONS, SECTION = 8, 16
"""Into how many sections the second half is cut to see how much neighbours depend, so that a drift is no dependence;
and how many groups a section has at least."""
USUAL = 10_000
"""Latencies of the second half, evenly spread, that the others are placed among."""


@dataclass(frozen=True)
class Found:
    """The first request that counts is number `index`. `settled` is False when the run never comes to rest.

    `how` says in words how it was found. `too_long`: more than may be let go is slower than what follows.
    """

    index: int
    settled: bool
    how: str
    too_long: bool = False


def find(due_us: Any, latency_us: Any, failed: Any = None) -> Found:
    """Of the requests [n] in the order in which they were due (microseconds). Never more than a fifth are warm-up.

    `failed` [n] says which were errors or timeouts: the warm-up ends before the first of them.
    """
    latencies = np.asarray(latency_us)
    n = len(latencies)
    if n < LEAST:
        return Found(0, True, f"{n} requests are too few to show a warm-up")
    size = max(GROUP, -(-n // GROUPS))
    means = _means_of_places(latencies, size)
    noise = _noise(means[len(means) // 2 :])
    half, cut = len(means) // 2, 0
    while more := change_point(means[cut:], half - cut):
        first, rest = means[cut : cut + more], means[cut + more :]
        if not (first.mean() > rest.mean() and _differ(first, rest, noise, SURE) and _begins_so(first, rest)):
            break
        cut += more
    slowest = latencies[n // 2 :].max()
    index = max(cut * size, int(np.argmin(latencies[: n // 2] > slowest)))
    if failed is not None and np.any(failed):
        index = min(index, int(np.argmax(failed)))
    if index > MOST * n:
        return Found(int(MOST * n), False, _too_long(index, np.asarray(due_us)), too_long=True)
    begin = -(-index // size)
    third = (len(means) - begin) // 3
    settled = not _differ(means[begin : begin + third], means[-third:], noise, UNSETTLED)
    return Found(index, settled, _in_words(index, settled, np.asarray(due_us)))


def change_point(means: Floats, most: int) -> int:
    """After how many groups, at most `most`, the levels before and after differ most. 0 for nowhere."""
    n = len(means)
    before = np.arange(1, min(most, n - 1) + 1)
    if not len(before):
        return 0
    cusum = np.cumsum(means - means.mean())[: len(before)]
    return int(np.argmax(cusum**2 / (before * (n - before)))) + 1


def _means_of_places(latencies: Any, size: int) -> Floats:
    """Of groups of `size` latencies: the mean of their places among those of the second half, which are the share of
    them below it, and half of those equal. Of large groups some latencies, evenly spread, stand for all.
    """
    late = latencies[len(latencies) // 2 :]
    usual = np.sort(late[:: -(-len(late) // USUAL)])
    groups = latencies[: len(latencies) // size * size].reshape(-1, size)[:, :: -(-size // MOST_OF_GROUP)]
    below, within = np.searchsorted(usual, groups, "left"), np.searchsorted(usual, groups, "right")
    found: Floats = (below + within).mean(axis=1) / (2 * len(usual))
    return found


def _noise(means: Floats) -> tuple[float, float]:
    """Of the means of groups in a row: the variance of one, and how many of them tell one thing."""
    length = max(len(means) // SECTIONS, min(SECTION, len(means)))
    sections = [means[start : start + length] for start in range(0, len(means) - length + 1, length)]
    covariances = np.mean([autocovariances(section) for section in sections], axis=0)
    tau, lags = windowed_sum(covariances)
    return float(covariances[0]), tau * (1 + (2 * lags + 1) / length)  # a section's own mean hides some of it


def _differ(some: Floats, others: Floats, noise: tuple[float, float], errors: float) -> bool:
    """Whether the levels of two stretches of groups are so many standard errors apart, and far enough to matter."""
    if not len(some) or not len(others):
        return False
    variance, tau = noise
    error = np.sqrt(variance * (min(tau / len(some), 1.0) + min(tau / len(others), 1.0)))
    apart = abs(float(some.mean() - others.mean()))
    return bool(apart >= APART and apart > errors * error)


def _begins_so(first: Floats, rest: Floats) -> bool:
    """Whether the beginning of the first stretch is unlike the rest, and not an outage in the midst of it alone."""
    return bool(abs(float(np.median(first[: -(-len(first) // 3)]) - np.median(rest))) >= APART)


def _too_long(index: int, due_us: Any) -> str:
    seconds, whole = float(due_us[index] - due_us[0]) / 1e6, float(due_us[-1] - due_us[0]) / 1e6
    return (
        f"the run did not settle: its first {index:,} requests ({seconds:.3g} s of {whole:.3g} s) were slower than "
        f"what follows, and no more than {100 * MOST:.0f} % of a run may be warm-up"
    )


def _in_words(index: int, settled: bool, due_us: Any) -> str:
    if not index:
        words = "the latencies start at the level at which they go on"
    else:
        seconds = float(due_us[index] - due_us[0]) / 1e6
        words = f"the first {index:,} requests ({seconds:.3g} s) were slower than what follows"
    return words if settled else f"{words}; the run never settled: its latencies were still changing at its end"
