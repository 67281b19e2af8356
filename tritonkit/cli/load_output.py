"""What `load run` prints: the verdict first, then what it rests on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tritonkit.cli.output import colour, fits, make_table, print_json, print_line, print_table, say, shown_path
from tritonkit.cli.signals import raise_again

if TYPE_CHECKING:
    from loadtest.results.run import Run

COLOURS = {"pass": "green", "fail": "red", "undecided": "yellow", "invalid": "magenta"}
_EVERY_S = 5.0  # where lines stay, how far it is
_MOST_ERRORS = 5
_WHERE = ("model", "requests", "mean batch", "queue", "input", "compute", "output")


def seldom_counted(say_it: Callable[[str], None]) -> Callable[[str], None]:
    """Where lines stay (no terminal), how far a run is every few seconds alone; everything else as it is."""
    if sys.stderr.isatty():
        return say_it
    import time

    told_at = 0.0

    def told(text: str) -> None:
        nonlocal told_at
        raise_again()
        if "sent " in text:
            if time.monotonic() - told_at < _EVERY_S:
                return
            told_at = time.monotonic()
        say_it(text)

    return told


def kept(folder: Path) -> None:
    """After an interrupt: where what there is lies."""
    from loadtest.results.run import RUN_FILE, read_run

    if not (folder / RUN_FILE).is_file():
        return
    where = shown_path(folder)
    if read_run(folder).stopped:
        say(f"the samples so far are kept in {where}, marked as stopped")
    else:
        say(f"the run is complete in {where}; `tritonkit load report {where}` makes its page")


def show(run: Run, folder: Path, *, as_json: bool) -> None:
    """run.json for scripts; for people the verdict, its figures, warnings, and where everything lies."""
    if as_json:
        print_json(run.model_dump(mode="json"))
        return
    _verdict(run)
    click.echo()
    _percentiles(run)
    _split(run)
    _notes(run)
    _files(run, folder)


def _verdict(run: Run) -> None:
    word = run.judgement.verdict.upper()
    shown = click.style(word, fg=COLOURS[run.judgement.verdict], bold=True) if colour(sys.stdout) else word
    click.echo(f"{shown}  {run.pipeline}")
    print_line(run.judgement.why)
    for reason in run.validity.reasons[1:]:
        print_line(f"Also: {reason}.")


def _percentiles(run: Run) -> None:
    from loadtest.report import words

    if run.percentiles is None:
        return
    told = {"": run.percentiles} if not run.by_pipeline else {"all": run.percentiles, **run.by_pipeline}
    rows = []
    for name, found in told.items():
        for what, interval in (("p50", found.p50_ms), ("p95", found.p95_ms), ("p99", found.p99_ms),
                               ("p99.9", found.p999_ms)):  # fmt: skip
            if interval is not None:
                span = f"{interval.low:.2f} to {interval.high:.2f}"
                rows.append(
                    [name, what, f"{interval.value:.2f}", span, words.plain(words.confidence(interval.confidence))]
                )
        rows.append([name, "max", f"{found.max_ms:.2f}", "", ""])
    columns = ["pipeline", "latency", "ms", "interval", "two-sided"]
    if not run.by_pipeline:
        columns, rows = columns[1:], [row[1:] for row in rows]
    title = f"latency of the {run.counted:,} requests that count"
    print_table(make_table(columns, rows, right=columns[-3:], title=title))
    if run.left_out:
        print_line(f"Not among them: {run.left_out}.")
    print_line(words.plain(words.rests_on(run.judgement)))
    rates = f"{run.achieved_rps:.1f} answers/s"
    if run.traffic.rate_rps is not None:
        rates += f" of {run.traffic.rate_rps:g} requests/s"
    bad = {name: count for name, count in run.outcomes.items() if name not in {"ok", "cancelled"}}
    what = ", ".join(f"{count:,} {name}" for name, count in bad.items()) or "no errors"
    print_line(f"{rates}; {what}. Warm-up: {run.warm_up.found_by}.")
    for text, count in list(run.errors.items())[:_MOST_ERRORS]:
        print_line(f"  {count:,} x {text}")
    click.echo()


def _split(run: Run) -> None:
    if run.percentiles is None or not run.splits:
        return
    rows = []
    for part in run.splits:
        times = (part.queue_us, part.input_us, part.compute_us, part.output_us)
        rows.append([part.model, f"{part.requests:,}", f"{part.mean_batch:.1f}", *(f"{us:,.0f}" for us in times)])
    if run.outside_us is not None:
        rows.append(["outside: server, network, client", "", "", "", "", f"{run.outside_us:,.0f}", ""])
    title = "where a request's time went by the server's count, mean µs, of all requests"
    whole_names = [[row[0].partition(" ")[0], *row[1:]] for row in rows]
    if fits(make_table(_WHERE, whole_names)):
        print_table(make_table(_WHERE, rows, right=_WHERE[1:], breaks={"model"}, title=title))
    else:  # a name would give way to the figures, to nothing in the end
        print_line(title)
        for name, *cells in rows:
            told = [f"{what} {cell}" for what, cell in zip(_WHERE[1:], cells, strict=True) if cell]
            print_line(f"{name}: {', '.join(told) if cells[0] else cells[-2]}", hang=2)
    click.echo()


def _notes(run: Run) -> None:
    if run.stopped:
        print_line(f"stopped early: {run.stopped}")
    for warning in run.validity.warnings:
        print_line(f"warning: {warning}")
    lag = run.validity
    print_line(
        f"The senders: 99 of 100 requests left within {lag.lag_p99_us / 1000:.3g} ms of when they were due (bound "
        f"{lag.lag_bound_us / 1000:g} ms); the busiest second took {100 * lag.busiest_core:.0f} % of a core (bound "
        f"{100 * lag.busiest_core_bound:.0f} %)."
    )


def _files(run: Run, folder: Path) -> None:
    from loadtest.results.run import RUN_FILE
    from tritonkit.load_run import REPORT_FILE

    report = folder / REPORT_FILE
    if report.is_file():
        click.echo(f"report   {shown_path(report)}")
    else:
        click.echo(f"record   {shown_path(folder / RUN_FILE)}")
    click.echo(f"repeat   {run.made.command}")
