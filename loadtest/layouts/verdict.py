"""Which layout is the fastest, and why: or that they cannot be told apart."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from generator.engine.measure.fastest import fastest
from generator.engine.measure.latency import Timing, median_interval
from loadtest.layouts.stages import Breakdown, Stage
from loadtest.layouts.turn import Mode, Turn

CPU_SAYS_WHY = 1.05  # times the CPU of the fastest: less explains nothing


@dataclass(frozen=True)
class Median:
    """Of all rounds: the median and its 95 % interval."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """`fastest` are those that cannot be told apart from the fastest; one, if it is told apart from all others.

    `ratios` say of each layout how many times as long it takes as the fastest, with the 95 % interval.
    """

    mode: str
    fastest: tuple[str, ...]
    ratios: Mapping[str, Median]
    text: str


def median_of(values: Sequence[float]) -> Median:
    """The median with its interval."""
    return Median(statistics.median(values), *median_interval(values))


def breakdown_of(turns: Sequence[Turn]) -> Breakdown:
    """The median turn by turn of every part of a request's time."""
    models = {}
    for name in turns[0].stages.models:
        own = [turn.stages.models[name] for turn in turns]
        models[name] = Stage(
            **{f.name: statistics.median(getattr(stage, f.name) for stage in own) for f in fields(Stage)}
        )
    between = [t.stages.between_us for t in turns if t.stages.between_us is not None]
    return Breakdown(
        models, statistics.median(between) if between else None, statistics.median(t.stages.outside_us for t in turns)
    )


def latency_verdict(turns: Sequence[Turn], mode: Mode, preferred: Sequence[str]) -> Verdict:
    """By the median latency of each turn, layout against layout within a round; the server's statistics say why."""
    own = _by_layout(turns, mode)
    ratios, tied = _compared({name: [t.median_us for t in of] for name, of in own.items()}, preferred)
    stages = {name: breakdown_of(of) for name, of in own.items()}
    slow, fast = _slowest(ratios), tied[0]
    why = "" if slow in tied else _why_latency(slow, stages[slow], fast, stages[fast])
    return Verdict(mode.name, tied, ratios, _sentence(f"Latency at {_in_flight(mode)}", tied, ratios, why))


def capacity_verdict(turns: Sequence[Turn], mode: Mode, preferred: Sequence[str]) -> Verdict:
    """By the time that an item takes of each turn; the server's CPU says why."""
    own = _by_layout(turns, mode)
    ratios, tied = _compared({name: [1e6 / t.items_per_s for t in of] for name, of in own.items()}, preferred)
    cpu = {name: statistics.median(t.server_cpu_us for t in of) for name, of in own.items()}
    slow, fast, why = _slowest(ratios), tied[0], ""
    if slow not in tied and cpu[slow] > cpu[fast] * CPU_SAYS_WHY:
        why = f"an item costs the server {cpu[slow]:,.0f} µs of CPU in {slow}, {cpu[fast]:,.0f} in {fast}"
    elif slow not in tied:
        why = f"an item costs the server no more CPU in {slow} than in {fast}: it waits for something else"
    return Verdict(mode.name, tied, ratios, _sentence(f"Capacity at {_in_flight(mode)}", tied, ratios, why))


def _by_layout(turns: Sequence[Turn], mode: Mode) -> dict[str, list[Turn]]:
    own: dict[str, list[Turn]] = {}
    for turn in sorted(turns, key=lambda t: t.round):
        if turn.mode == mode.name:
            own.setdefault(turn.layout, []).append(turn)
    return own


def _compared(
    times_us: Mapping[str, Sequence[float]], preferred: Sequence[str]
) -> tuple[dict[str, Median], tuple[str, ...]]:
    """Every layout's ratio to the fastest, round by round, and those that cannot be told apart from it."""
    timings = {name: {1: Timing(*_three(values), tuple(values))} for name, values in times_us.items()}
    choice = fastest(timings, preferred)
    return {name: Median(*choice.ratios[name]) for name in times_us}, choice.tied


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    found = median_of(values)
    return found.median, found.low, found.high


def _slowest(ratios: Mapping[str, Median]) -> str:
    return max(ratios, key=lambda name: ratios[name].median)


def _in_flight(mode: Mode) -> str:
    return f"{mode.in_flight} in flight" + (f", {mode.items} items a request" if mode.items > 1 else "")


def _sentence(what: str, tied: Sequence[str], ratios: Mapping[str, Median], why: str) -> str:
    """The verdict in one sentence."""
    slower = sorted((name for name in ratios if name not in tied), key=lambda name: ratios[name].median)
    spans = {name: f"{r.median:.2f} times as long ({r.low:.2f} to {r.high:.2f})" for name, r in ratios.items()}
    said = f"{what}: " + (f"{_names(tied)} cannot be told apart" if len(tied) > 1 else f"{tied[0]} is the fastest")
    if slower:
        said += "; " + ", ".join([f"{slower[0]} takes {spans[slower[0]]}", *(f"{n} {spans[n]}" for n in slower[1:])])
    return f"{said}: {why}." if why else f"{said}."


def _why_latency(slow: str, of_slow: Breakdown, fast: str, of_fast: Breakdown) -> str:
    """Where the slower one loses most of its time."""
    parts = {
        "waiting in queues": (of_slow.sum("queue_us"), of_fast.sum("queue_us")),
        "in the compute of its models": (of_slow.sum("compute_us"), of_fast.sum("compute_us")),
        "passing tensors on": (_passed_on_us(of_slow), _passed_on_us(of_fast)),
        "outside its models": (of_slow.outside_us, of_fast.outside_us),
    }
    where, (a, b) = max(parts.items(), key=lambda part: part[1][0] - part[1][1])
    more = len(of_slow.models) > len(of_fast.models)
    counts = f"{slow} has {len(of_slow.models)} models, {fast} {len(of_fast.models)}; " if more else ""
    return f"{counts}{slow} loses most {where}, {a:,.0f} µs a request against {b:,.0f}"


def _passed_on_us(parts: Breakdown) -> float:
    """Input, output and what is between models in one: a model's output overlaps with the next one's queue."""
    return parts.sum("input_us") + parts.sum("output_us") + (parts.between_us or 0.0)


def _names(found: Sequence[str]) -> str:
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"
