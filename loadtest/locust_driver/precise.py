"""Locust's statistics with the digits that latencies have: it rounds to whole milliseconds by itself.

Nothing here imports Locust before it is needed: that makes every thread of the process a greenlet.
"""

from __future__ import annotations

import math
from typing import Any

_DIGITS, _FINEST = 3, 3  # significant digits; digits behind the point of a millisecond


def bucket(response_time_ms: float) -> float:
    """To three significant digits, never finer than a microsecond: at most 900 buckets for each power of ten."""
    if response_time_ms <= 0:
        return 0.0
    digits = _DIGITS - 1 - math.floor(math.log10(response_time_ms))
    return round(response_time_ms, min(digits, _FINEST))


def rounded(value: float | None, digits: int = 0) -> float:  # noqa: ARG001  (Locust asks for none)
    """What the web page gets as the shortest and the longest time."""
    return round(value or 0.0, _FINEST)


def line(entry: Any, current: bool = True) -> str:
    """A line of Locust's table, in its columns."""
    from locust import stats

    per_s = (
        (entry.current_rps, entry.current_fail_per_sec) if current else (entry.total_rps, entry.total_fail_per_sec)
    )
    fails = f"{entry.num_failures}({100 * entry.fail_ratio:.2f}%)"
    times = (entry.avg_response_time, entry.min_response_time, entry.max_response_time, entry.median_response_time)
    average, least, most, median = (f"{ms or 0.0:.4g}" for ms in times)
    kind = f"{entry.method or '':<{stats.STATS_TYPE_WIDTH}}"
    name = f"{entry.name:<{stats.STATS_NAME_WIDTH - stats.STATS_TYPE_WIDTH + 4}}"
    counts = f"{entry.num_requests:>7} {fails:>12}"
    return (
        f"{kind} {name} {counts} |{average:>7} {least:>7} {most:>7}{median:>7} | {per_s[0]:>7.2f} {per_s[1]:>11.2f}"
    )


def percentile_line(entry: Any) -> str:
    """A line of Locust's table of percentiles, in its columns."""
    from locust import stats

    found = [f"{entry.get_response_time_percentile(share):.4g}" for share in stats.PERCENTILES_TO_REPORT]
    head = f"{entry.method or '':<{stats.STATS_TYPE_WIDTH}} {entry.name:<{stats.STATS_NAME_WIDTH}}"
    return f"{head} {found[0]:>8} {' '.join(f'{text:>6}' for text in found[1:])} {entry.num_requests:>6}"


def install() -> None:
    """For this process: what Locust shows and sends on has microseconds."""
    from locust import stats

    replaced: tuple[tuple[Any, str, Any], ...] = (
        (stats, "bucket_response_time", bucket), (stats, "proper_round", rounded),
        (stats.StatsEntry, "to_string", line),
        (stats.StatsEntry, "percentile", percentile_line), (stats, "PERCENTILES_TO_CHART", [0.5, 0.95, 0.99]),
    )  # fmt: skip
    for owner, name, ours in replaced:
        setattr(owner, name, ours)
