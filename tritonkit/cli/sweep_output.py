"""What `load sweep` prints: the choice first, then every point with its bar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadtest.sweep.setting import DELAY, Setting, shown
from tritonkit.cli.output import make_table, print_line, print_table, shown_path

if TYPE_CHECKING:
    from loadtest.results.run import IntervalRecord
    from loadtest.results.sweep import Point, Sweep

# The table has 80 columns, however many axes there are.
BARS = {1: 9, 2: 9, 3: 4, 4: 0, 5: 0}
_BAR = " "
_LEFT_OUT = {4: ("batch", _BAR), 5: ("batch", _BAR, "interval", "sure")}
_SHORT = {
    DELAY: "delay µs",
    "instances": "inst.",
    "preferred": "preferred",
    "max_batch_size": "max",
    "layout": "layout",
}


def show(sweep: Sweep, folder: Path, report: Path | None) -> None:
    """The choice and why; a table of all points, in 80 columns; where everything lies."""
    print_line(f"{sweep.pipeline}: {sweep.choice.why}")
    click.echo()
    _points(sweep)
    if sweep.choice.written is not None:
        click.echo()
        click.echo("for the spec:")
        for line in sweep.choice.written.rstrip().splitlines():
            click.echo(f"  {line}")
    click.echo()
    for warning in sweep.warnings:
        print_line(f"warning: {warning}")
    minutes = sweep.wall_s / 60
    print_line(f"{len(sweep.points)} settings, {sum(len(p.replicates) for p in sweep.points)} turns, "
               f"{sweep.requests:,} requests, {minutes:.1f} minutes.")  # fmt: skip
    click.echo(f"report   {shown_path(report or folder / 'sweep.json')}")
    click.echo(f"repeat   {sweep.made.command}")


def _points(sweep: Sweep) -> None:
    axes = [_SHORT[axis] for axis in sweep.over]
    rows = [_row(sweep, point) for point in sweep.points]
    columns = [name for name in rows[0] if name not in _LEFT_OUT.get(len(axes), ())] if rows else []
    right = {name for name in columns if name not in {"layout", "verdict", _BAR}}
    at = "" if sweep.find_max else f" at {sweep.rate_rps:g} requests/s"
    title = f"{sweep.member}{at}; * chosen, = not told apart from it"
    print_table(make_table(columns, ([row[name] for name in columns] for row in rows), right=right, title=title))


def _row(sweep: Sweep, point: Point) -> dict[str, str]:
    """Column and cell."""
    values = dict(Setting.of(point.settings).values)
    rate, p99 = point.max_rate, point.p99_ms
    figures = {"max req/s": f"{rate.value:.4g}" if rate else "-",
               "bracket": _bracket(rate) if rate else "-"}  # fmt: skip
    if not sweep.find_max:
        figures = {
            "p99 ms": f"{p99.value:.2f}" if p99 else "-",
            "interval": f"{p99.low:.2f}-{p99.high:.2f}" if p99 else "-",
            "sure": f"{100 * p99.confidence:.0f} %" if p99 else "-",
        }
    longest = max(_measure(one, find_max=sweep.find_max) for one in sweep.points) or 1.0
    length = BARS[len(sweep.over)] * _measure(point, find_max=sweep.find_max) / longest
    return {
        "": _mark(sweep, point), **{_SHORT[axis]: shown(values[axis]) for axis in sweep.over}, **figures,
        _BAR: "#" * round(length), "batch": f"{point.mean_batch:.1f}" if point.mean_batch is not None else "-",
        "turns": str(len(point.replicates)), "verdict": point.judgement.verdict,
    }  # fmt: skip


def _bracket(rate: IntervalRecord) -> str:
    """At confidence 0 nothing is known of how much more it carries."""
    return f"{rate.low:.4g}-{rate.high:.4g}" if rate.confidence else f"{rate.low:.4g}-?"


def _measure(point: Point, *, find_max: bool) -> float:
    interval = point.max_rate if find_max else point.p99_ms
    return interval.value if interval else 0.0


def _mark(sweep: Sweep, point: Point) -> str:
    if point.settings == sweep.choice.settings:
        return "*"
    return "=" if point.settings in sweep.choice.tied else ""
