"""Several runs and sweeps in one table."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.report.charts.settings import is_chosen
from loadtest.report.opening import Opened, OpenedRun
from loadtest.report.tables import Column, Table
from loadtest.report.view import View
from loadtest.results.run import IntervalRecord, Run
from loadtest.results.sweep import Sweep

_COLUMNS = (
    Column("name", "name", "text"), Column("verdict", "verdict", "word"), Column("p50_ms", "p50 ms", "ms"),
    Column("p95_ms", "p95 ms", "ms"), Column("p99_ms", "p99 ms", "ms"), Column("p99_low_ms", "from", "ms"),
    Column("p99_high_ms", "to", "ms"), Column("answered_rps", "answered/s"),
    Column("requests", "requests", "count"),
)  # fmt: skip
_Row = tuple[IntervalRecord | None, IntervalRecord | None, IntervalRecord | None, float | None, int]


def overview(opened: Sequence[Opened], views: Sequence[View]) -> Table:
    """A row for each; of a sweep its chosen point."""
    rows = []
    for one, view in zip(opened, views, strict=True):
        p50, p95, p99, rate, requests = _of_run(one.run) if isinstance(one, OpenedRun) else _of_sweep(one.sweep)
        values = [interval.value if interval else None for interval in (p50, p95, p99)]
        span = (p99.low, p99.high) if p99 else (None, None)
        rows.append((one.name, view.verdict, *values, *span, rate, requests))
    return Table("all-overview", _COLUMNS, tuple(rows))


def _of_run(run: Run) -> _Row:
    told = run.percentiles
    if told is None:
        return None, None, None, run.achieved_rps, run.requests
    return told.p50_ms, told.p95_ms, told.p99_ms, run.achieved_rps, run.requests


def _of_sweep(sweep: Sweep) -> _Row:
    chosen = next((point for point in sweep.points if is_chosen(sweep, point)), None)
    if chosen is None:
        return None, None, None, None, sweep.requests
    rate = chosen.throughput_rps.value if chosen.throughput_rps else None
    return chosen.p50_ms, chosen.p95_ms, chosen.p99_ms, rate, sweep.requests
