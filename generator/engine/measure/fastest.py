"""The fastest of several engines, where one is: what cannot be told apart is decided by preference."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from generator.engine.measure.latency import Timings, median_interval


@dataclass(frozen=True)
class Choice:
    """`name` is installed. `ratios` are engine → how many times as slow as the fastest, with its 95 % interval.

    `tied` are those that cannot be told apart from the fastest, the preferred one first.
    """

    name: str
    ratios: Mapping[str, tuple[float, float, float]]
    tied: tuple[str, ...]
    text: str


def fastest(timings: Timings, preferred: Sequence[str], weights: Mapping[int, float] | None = None) -> Choice:
    """Chosen by the weighted geometric mean of the latency over batch sizes; without `weights` all count alike.

    Geometric, because a factor at batch 1 should count as much as one at batch 32. An engine is compared with the
    fastest round by round, in which both ran one after the other; if the interval of the ratio holds 1, they cannot
    be told apart, and of these the first in `preferred` (the higher precision, the simpler engine) is chosen. Of
    unlike numbers of rounds the shorter counts. Raises ValueError if there is no engine, and if no size has a weight.
    """
    if not timings:
        raise ValueError("there is no engine to choose from")
    sizes = sorted(set.intersection(*(set(of) for of in timings.values())))
    share = {size: 1.0 if weights is None else weights.get(size, 0.0) for size in sizes}
    total = sum(share.values())
    if total <= 0:
        raise ValueError(f"no batch size of {sizes} has a weight")
    share = {size: value / total for size, value in share.items() if value > 0}
    logs = {name: _rounds(timings, name, share) for name in timings}
    best = min(logs, key=lambda name: (statistics.median(logs[name]), _rank(name, preferred)))
    ratios = {name: _ratio(of, logs[best]) for name, of in logs.items()}
    tied = tuple(sorted((n for n, (_, low, _) in ratios.items() if low <= 1.0), key=lambda n: _rank(n, preferred)))
    chosen = tied[0]
    return Choice(chosen, ratios, tied, _text(chosen, best, ratios, tied))


def _rounds(timings: Timings, name: str, share: Mapping[int, float]) -> list[float]:
    """The logarithm of the mean latency, round by round."""
    rounds = min(len(timings[name][size].rounds_us) for size in share)
    return [
        sum(part * math.log(max(timings[name][size].rounds_us[index], 1e-3)) for size, part in share.items())
        for index in range(rounds)
    ]


def _ratio(values: Sequence[float], best: Sequence[float]) -> tuple[float, float, float]:
    if values is best:
        return 1.0, 1.0, 1.0
    differences = [a - b for a, b in zip(values, best, strict=False)]
    low, high = median_interval(differences)
    return math.exp(statistics.median(differences)), math.exp(low), math.exp(high)


def _rank(name: str, preferred: Sequence[str]) -> tuple[int, str]:
    return (preferred.index(name) if name in preferred else len(preferred)), name


def _text(
    chosen: str, best: str, ratios: Mapping[str, tuple[float, float, float]], tied: Sequence[str]
) -> str:  # fmt: skip
    others = [name for name in ratios if name != chosen]
    if not others:
        return f"{chosen} is the only one"
    if len(tied) > 1:
        value, low, high = ratios[chosen if chosen != best else next(n for n in tied if n != best)]
        return (
            f"{' and '.join(tied)} cannot be told apart (ratio {value:.3f}, 95 %: {low:.3f} to {high:.3f}); "
            f"{chosen} is preferred"
        )
    next_best = min(others, key=lambda name: ratios[name][0])
    value, low, high = ratios[next_best]
    return f"{chosen} is the fastest; {next_best} takes {value:.2f} times as long (95 %: {low:.2f} to {high:.2f})"
