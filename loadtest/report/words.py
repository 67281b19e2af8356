"""Numbers and texts as people read them. Values stay what they are; only what is shown is rounded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from loadtest.results.run import IntervalRecord, JudgementRecord

NONE = "–"
_GAP = "\N{NO-BREAK SPACE}"  # a number and its unit stay in one line
_SIGNIFICANT = 3


def text(value: object) -> str:
    """Any text of a spec, a server or a file, with what no screen can show escaped, line breaks included."""
    from generator.report import visible

    return visible(str(value))


def plain(shown: str) -> str:
    """For where lines are not broken: with spaces as they are typed."""
    return shown.replace(_GAP, " ")


def number(value: float | None, significant: int = _SIGNIFICANT) -> str:
    """With so many significant digits, never in powers of ten: 0.0123, 4.21, 1,235."""
    if value is None:
        return NONE
    if value == 0:
        return "0"
    digits = 0
    while digits < 9 and abs(value) * 10**digits < 10 ** (significant - 1):
        digits += 1
    return f"{value:,.{digits}f}"


def tick(value: float) -> str:
    """A round value at an axis, with no more digits than it has."""
    return f"{value:,.9f}".rstrip("0").rstrip(".") if abs(value) < 1e15 else f"{value:g}"


def count(value: float | None) -> str:
    """A whole number."""
    return NONE if value is None else f"{value:,.0f}"


def ms(value: float | None) -> str:
    """Milliseconds with their unit."""
    return NONE if value is None else f"{number(value)}{_GAP}ms"


def us(value: float | None) -> str:
    """Microseconds; from 10,000 on as milliseconds."""
    if value is None:
        return NONE
    return f"{count(value)}{_GAP}µs" if abs(value) < 10_000 else ms(value / 1000)


def share(value: float | None) -> str:
    """A share of 1 as a percentage."""
    return NONE if value is None else f"{number(value * 100)}{_GAP}%"


def percentile(value: float) -> str:
    """A share of 1 that names a percentile: 0.999 is 99.9 %."""
    return f"{value * 100:.6f}".rstrip("0").rstrip(".") + f"{_GAP}%"


def seconds(value: float | None) -> str:
    """Seconds; from two minutes on minutes and seconds."""
    if value is None:
        return NONE
    if value < 120:
        return f"{number(value)}{_GAP}s"
    whole = round(value)
    return f"{whole // 60} min {whole % 60} s" if whole < 7200 else f"{whole // 3600} h {whole % 3600 // 60} min"


def between(interval: IntervalRecord, unit: str = "") -> str:
    """An interval without its value: `3.98 to 4.47 ms`; at confidence 0 there is none."""
    if not interval.confidence:
        return "interval not known"
    return f"{number(interval.low)} to {number(interval.high)}" + (f"{_GAP}{unit}" if unit else "")


def confidence(value: float) -> str:
    """How sure something is: `99 %`, `51.6 %`."""
    near_one = 0.999 < value < 1  # what it lacks of 1 is what counts
    return percentile(1 - float(f"{1 - value:.2g}") if near_one else float(f"{value:.3g}"))


def rests_on(judged: JudgementRecord) -> str:
    """How the one-sided confidence of a verdict and the two-sided one of an interval belong together."""
    one, both = confidence(judged.confidence), confidence(max(2 * judged.confidence - 1, 0.0))
    return (
        f"The verdict rests on one end of the p99's interval, which is {one} sure by itself; both ends together are "
        f"{both} sure, and less where the requests do not tell enough for one of them."
    )


def confidences(intervals: Sequence[IntervalRecord]) -> str:
    """Of several intervals: `99 %`, or `51.6 % to 99 %` where the run was too short for some."""
    low, high = (confidence(end(interval.confidence for interval in intervals)) for end in (min, max))
    return low if low == high else f"{low} to {high}"


def compact(value: object) -> str:
    """A value of a configuration in one line."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float):
        return f"{value:g}"
    return text(json.dumps(value, ensure_ascii=False, default=str))


def settings(values: Mapping[str, Any]) -> str:
    """A point of a sweep in one line: `max_queue_delay_us 500, instances 2`."""
    return ", ".join(f"{text(name)} {compact(value)}" for name, value in values.items()) or "as it is"


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values as `cpu.model: …` pairs, lists and leaves in one line."""
    found: dict[str, str] = {}
    for name, value in values.items():
        key = f"{prefix}{text(name)}"
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{key}.")
        else:
            found[key] = _listed(value)
    return found


def _listed(value: object) -> str:
    """Simple values with commas between, nothing for nothing."""
    if isinstance(value, list | tuple) and all(isinstance(one, str | int | float) for one in value):
        return ", ".join(compact(one) for one in value)
    return "" if value == {} else compact(value)
