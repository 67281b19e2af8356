"""Better, worse, or no difference that can be told: of p99, p50 and throughput, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.report import words
from loadtest.report.comparing.comparable import same_rate
from loadtest.report.comparing.sides import Side, sides_of, warnings_of
from loadtest.report.comparing.throughput import answered, ratio
from loadtest.report.opening import OpenedRun
from loadtest.samples.record import counted_us, sent_of
from loadtest.statistics.compare import Change, change, difference
from loadtest.statistics.judgement import Interval

CONFIDENCE = 0.99
JSON_FORMAT = 1

_OTHER_WAY = {Change.BETTER: Change.WORSE, Change.WORSE: Change.BETTER, Change.SAME: Change.SAME}


@dataclass(frozen=True)
class Measure:
    """One figure of both sides: of all runs of a side together, and of each by itself in `of_a` and `of_b`.

    `ratio` is b over a; `told` is false where a change beyond the threshold is possible. What is not `compared` has
    no verdict: it differs because something else was asked for.
    """

    name: str
    unit: str
    a: float
    b: float
    of_a: tuple[float, ...]
    of_b: tuple[float, ...]
    ratio: Interval
    verdict: Change
    told: bool
    compared: bool = True

    @property
    def change(self) -> str:
        """`+12.4 % (+8.1 to +16.9 %)`."""
        return f"{_percent(self.ratio.value)} % ({_percent(self.ratio.low)} to {_percent(self.ratio.high)} %)"


@dataclass(frozen=True)
class Comparison:
    """`measures` are p99, p50 and throughput; the verdict is worse if one of them is, else better if one is.

    `a` and `b` are the names of each side's runs. Where there are several, the intervals know how much runs differ.
    """

    a: tuple[str, ...]
    b: tuple[str, ...]
    verdict: Change
    sentence: str
    threshold: float
    confidence: float
    measures: tuple[Measure, ...]
    warnings: tuple[str, ...]

    @property
    def is_regression(self) -> bool:
        """Whether b is worse beyond the threshold, with confidence."""
        return self.verdict is Change.WORSE

    @property
    def is_decided(self) -> bool:
        """Whether a change beyond the threshold is told or ruled out, of each of the figures that are compared."""
        return all(measure.told for measure in self.measures if measure.compared)

    @property
    def of_several(self) -> bool:
        """Whether there are several runs on a side."""
        return len(self.a) > 1

    def as_json(self) -> dict[str, Any]:
        """For scripts: the name of a side that is one run, or the names of its runs."""
        a, b = (list(names) if self.of_several else names[0] for names in (self.a, self.b))
        return {"format": JSON_FORMAT, "regression": self.is_regression, "decided": self.is_decided, **asdict(self),
                "a": a, "b": b, "between_runs": self.of_several}  # fmt: skip


def compare(a: Path | Sequence[Path], b: Path | Sequence[Path], threshold: float) -> Comparison:
    """Compares the runs in two folders, or several on either side; a change within `threshold` (a share) is none.

    Raises ProblemsError: with what is wrong with a record; when one cannot be believed, has too few samples, or is
    no repetition of the others on its side; and for fewer than three runs on a side where one has several.
    """
    first, second = sides_of(*([one] if isinstance(one, Path) else one for one in (a, b)))
    measures = tuple(_measures(first, second, threshold))
    verdicts = {measure.verdict for measure in measures}
    verdict = next((one for one in (Change.WORSE, Change.BETTER) if one in verdicts), Change.SAME)
    return Comparison(
        first.names, second.names, verdict, _sentence(measures, verdict, threshold, len(first.runs)), threshold,
        CONFIDENCE, measures, warnings_of(first, second),
    )  # fmt: skip


def _measures(a: Side, b: Side, threshold: float) -> list[Measure]:
    latencies = [[_latencies_us(one) for one in side.runs] for side in (a, b)]
    found = []
    for name, share in (("p99", 0.99), ("p50", 0.5)):
        values = [_percentile_ms(np.concatenate(side), share) for side in latencies]
        of_a, of_b = (tuple(_percentile_ms(run, share) for run in side) for side in latencies)
        interval = difference(latencies[0], latencies[1], share, CONFIDENCE)
        verdict, told = _told(interval, threshold)
        found.append(Measure(name, "ms", values[0], values[1], of_a, of_b, interval, verdict, told))
    slots = [[answered(one.samples, one.run) for one in side.runs] for side in (a, b)]
    of_a, of_b = (tuple(float(run.mean()) for run in side) for side in slots)
    interval = ratio(slots[0], slots[1], CONFIDENCE)
    alike = same_rate(a.runs[0].run, b.runs[0].run)
    verdict, told = _told(interval, threshold) if alike else (Change.SAME, False)
    rates = Measure("throughput", "requests/s", float(np.mean(of_a)), float(np.mean(of_b)), of_a, of_b, interval,
                    _OTHER_WAY[verdict], told, alike)  # fmt: skip
    return [*found, rates]


def _latencies_us(one: OpenedRun) -> Any:
    """Of what counts, [n] in due order."""
    return counted_us(sent_of(one.samples[one.run.warm_up.requests :]), round(one.run.traffic.deadline_ms * 1000))


def _percentile_ms(latencies_us: Any, share: float) -> float:
    return float(np.percentile(latencies_us, share * 100, method="inverted_cdf")) / 1000


def _told(interval: Interval, threshold: float) -> tuple[Change, bool]:
    """What a ratio of latencies says, and whether a change beyond the threshold is told or ruled out."""
    sure = interval.confidence >= CONFIDENCE
    found = change(interval, threshold) if sure else Change.SAME
    within = 1 / (1 + threshold) <= interval.low and interval.high <= 1 + threshold
    return found, sure and (found is not Change.SAME or within)


def _sentence(measures: tuple[Measure, ...], verdict: Change, threshold: float, runs: int) -> str:
    allowed = words.plain(words.percentile(threshold))
    compared = [measure.name for measure in measures if measure.compared]
    apart = "" if len(compared) == len(measures) else "; throughput is not compared: other rates were asked for"
    if verdict is not Change.SAME:
        which = ", ".join(f"{m.name} {m.change}" for m in measures if m.verdict is verdict)
        sure = words.plain(words.percentile(CONFIDENCE))
        return f"{verdict}: {which}; more than {allowed}, at {sure} confidence{apart}"
    unsure = [measure.name for measure in measures if measure.compared and not measure.told]
    if unsure:
        more = "measure more runs of each" if runs > 1 else "measure for longer"
        return f"no difference can be told: {' and '.join(unsure)} may differ by more than {allowed}; {more}{apart}"
    return f"no difference: {', '.join(compared[:-1])} and {compared[-1]} are within {allowed}{apart}"


def _percent(ratio_: float) -> str:
    return f"{(ratio_ - 1) * 100:+.1f}"
