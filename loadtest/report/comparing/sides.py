"""The two sides of a comparison: one run each, or several of the same thing; and what cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from generator.problems import Problem, ProblemsError
from loadtest.report import words
from loadtest.report.comparing.comparable import differences
from loadtest.report.opening import OpenedRun, OpenedSweep, Refused, open_all
from loadtest.results.run import SAMPLES_FILE
from loadtest.statistics.compare import REPLICATES

FEWEST = 100


@dataclass(frozen=True)
class Side:
    """One run, or several of the same thing."""

    runs: tuple[OpenedRun, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the runs."""
        return tuple(one.name for one in self.runs)

    @property
    def seeds(self) -> set[object]:
        """That their arrivals were drawn from."""
        return {one.run.traffic.drawn.get("seed") for one in self.runs}


def sides_of(a: Sequence[Path], b: Sequence[Path]) -> tuple[Side, Side]:
    """Opens both. Raises ProblemsError with everything that speaks against comparing them."""
    opened = open_all([*a, *b])
    problems: list[Problem] = []
    runs: list[OpenedRun] = []
    for one in opened:
        if isinstance(one, OpenedSweep):
            refused = Refused("TK896", one.folder, "this is a sweep, and runs are compared", _turn_of(one))
            problems.append(refused.problem)
            continue
        problems += [refused.problem for refused in _refusals(one)]
        runs.append(one)
    if not problems:
        sides = Side(tuple(runs[: len(a)])), Side(tuple(runs[len(a) :]))
        problems = [refused.problem for side in sides for refused in _of_one_thing(side)]
        problems += [refused.problem for refused in (*_of_two_pipelines(*sides), *_too_few(*sides))]
        if not problems:
            return sides
    raise ProblemsError(problems)


def warnings_of(a: Side, b: Side) -> tuple[str, ...]:
    """What makes a difference of the two, or none, mean something else."""
    found = differences(a.runs[0].run, b.runs[0].run)
    if len(a.runs) > 1 and len(a.seeds) == len(b.seeds) == 1 and a.seeds != b.seeds:
        first, second = (next(iter(side.seeds)) for side in (a, b))
        found.append(
            f"The arrivals are those of seed {first} in every run of one side, and of seed {second} in every run of "
            "the other: what they do to the latency may be the difference. Give both sides the same seeds."
        )
    early = [one for side in (a, b) for one in side.runs if one.run.stopped]
    return (*found, *(f"{one.name} ended early: {words.text(one.run.stopped)}." for one in early))


def _turn_of(sweep: OpenedSweep) -> str:
    folders = [turn.folder for point in sweep.sweep.points for turn in point.replicates if turn.folder]
    return f"name one of its turns, such as {sweep.folder / folders[0]}" if folders else "measure two runs"


def _refusals(one: OpenedRun) -> list[Refused]:
    if not one.run.validity.valid:
        why = words.plain("; ".join(one.run.validity.reasons))
        return [Refused("TK895", one.folder, f"the run is invalid: {why}", "measure it again")]
    if one.missing or one.cut:
        found = f"{len(one.samples):,} of {one.run.requests:,} samples are there"
        return [Refused("TK893", one.folder / SAMPLES_FILE, found, "copy the whole folder of the run")]
    if np.any(one.samples["due_us"][1:] < one.samples["due_us"][:-1]):
        found = "the samples are not in the order in which they were due"
        return [Refused("TK893", one.folder / SAMPLES_FILE, found, "copy the run's folder again, or measure again")]
    counted = len(one.samples) - one.run.warm_up.requests
    if counted < FEWEST:
        found = f"{max(counted, 0):,} requests count after the warm-up; a p99 needs {FEWEST} at least"
        return [Refused("TK894", one.folder, found, "measure for longer")]
    return []


def _of_one_thing(side: Side) -> list[Refused]:
    """Runs of a side that are not repetitions of its first one: how much they differ would say nothing."""
    found, first = [], side.runs[0]
    for place, one in enumerate(side.runs[1:], 1):
        same = next((other for other in side.runs[:place] if other.run == one.run), None)
        if same is not None:
            said = f"this is the same run as {same.folder}, and a run repeats nothing by being named twice"
            found.append(Refused("TK898", one.folder, said, "name every run of a side once"))
        elif other := differences(first.run, one.run, repeated=True):
            said = f"this is no repetition of {first.folder}, which is on the same side: {words.plain(other[0])}"
            found.append(Refused("TK898", one.folder, said, "name runs of one spec, rate and machine on a side"))
    return found


def _of_two_pipelines(a: Side, b: Side) -> list[Refused]:
    """Which of two pipelines is faster says of neither that it became better or worse."""
    first, second = a.runs[0], b.runs[0]
    if set(first.run.traffic.mix) == set(second.run.traffic.mix):
        return []
    one, other = (" and ".join(f"`{words.text(name)}`" for name in side.run.traffic.mix) for side in (first, second))
    said = f"this is a run of {other}, and {first.folder} is one of {one}: neither is better or worse than the other"
    return [Refused("TK898", second.folder, said, "name runs of the same pipelines")]


def _too_few(a: Side, b: Side) -> list[Refused]:
    """Of sides with several runs; one against one has no runs to tell how much runs differ, and does not say so."""
    if len(a.runs) == len(b.runs) == 1:
        return []
    return [
        Refused(
            "TK899", side.runs[0].folder, f"its side has {len(side.runs)} run{'s' if len(side.runs) > 1 else ''}, "
            f"and how much runs differ takes {REPLICATES} or more on either side to tell",
            "measure more, or compare one run with one",
        )
        for side in (a, b) if len(side.runs) < REPLICATES
    ]  # fmt: skip
