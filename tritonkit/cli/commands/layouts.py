"""`tritonkit layouts`: one spec in its layouts, compared and measured on one server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tritonkit.cli.parameters import Seconds

if TYPE_CHECKING:
    from loadtest.layouts.verdict import Median
    from tritonkit.layouts import Measured

_INTERVAL_ROUNDS = 6  # with fewer, no two values hold the median in 95 % of the cases
_WHERE = ("layout", "model", "queue", "input", "compute", "output")


@click.command("layouts")
@click.argument("spec", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--rounds", type=click.IntRange(2, 1000), default=18, show_default=True,
              help="In each, every layout has a turn for latency and one for capacity.")  # fmt: skip
@click.option("--seconds", type=Seconds(), default=0.5, show_default=True, help="Of one turn.")
@click.option("--in-flight", type=click.IntRange(1, 1024), default=16, show_default=True,
              help="Requests in flight when capacity is measured.")  # fmt: skip
@click.option("--batch", type=click.IntRange(1, 4096), metavar="N", default=1, show_default=True,
              help="Items a request.")  # fmt: skip
@click.option("--tolerance", type=click.FloatRange(0, 1), default=1e-5, show_default=True,
              help="How far floats may differ: a share of the output's largest, or of 1.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the order and of random data.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    spec: Path, rounds: int, seconds: float, in_flight: int, batch: int, tolerance: float, seed: int, as_json: bool
) -> None:
    """Serve SPEC in each of its layouts, compare their answers, and measure which is the fastest.

    One embedded server holds all of them; each is asked the spec's own data (or random items) and must answer alike.
    Then they take turns, in a new order every round: latency with one request in flight, and capacity with some in
    flight, the next sent when one is answered. That compares layouts; it is no test of the objective.

    Exit status: 0 measured, 1 if two layouts answer differently, 2 ours.
    """
    from generator.project import Project
    from tritonkit.cli.output import print_json, progress
    from tritonkit.cli.signals import terminate_as_interrupt
    from tritonkit.layouts import Asked, measure_layouts

    if tolerance != tolerance:  # noqa: PLR0124  (click's range lets NaN through, and nothing differs by more)
        raise click.UsageError("--tolerance nan is not a number from 0 to 1")
    project = Project.find()
    asked = Asked(rounds, seconds, in_flight, batch, tolerance, seed)
    with terminate_as_interrupt(), progress("reading the spec") as now:
        found = measure_layouts(spec, project, asked, now)
    if as_json:
        print_json(found.as_json())
    else:
        _show(found)


def _show(found: Measured) -> None:
    from loadtest.layouts.verdict import median_of
    from tritonkit.cli.output import make_table, print_line, print_table
    from tritonkit.layouts import CAPACITY, LATENCY

    rows = []
    for layout in found.layouts.found:
        latency = median_of([turn.median_us / 1000 for turn in found.of(layout, LATENCY)])
        capacity = median_of([turn.items_per_s for turn in found.of(layout, CAPACITY)])
        cpu = median_of([turn.server_cpu_us for turn in found.of(layout, CAPACITY)])
        rows.append([layout, f"{latency.median:.2f}", _interval(latency, 2), f"{capacity.median:.0f}",
                     _interval(capacity, 0), f"{cpu.median:.0f}"])  # fmt: skip
    of_items = f", {found.modes[0].items} items a request" if found.modes[0].items > 1 else ""
    title = f"{found.pipeline}: latency at 1, capacity at {found.modes[1].in_flight} in flight{of_items}"
    span = "95 %" if found.turns[-1].round >= _INTERVAL_ROUNDS else "range"
    columns = ("layout", "p50 ms", span, "items/s", f"{span} ", "CPU µs/item")
    print_table(make_table(columns, rows, right=columns[1:], title=title))
    click.echo()
    _where(found)
    click.echo()
    for verdict in found.verdicts:
        print_line(verdict.text)
    print_line(f"Answers to {found.data.source}: {found.agreement.in_words()}.")
    for layout, why in found.layouts.left_out.items():
        print_line(f"{layout} is left out: {why}")
    click.echo("A closed loop: capacity is what was answered, and says nothing of a latency under load.")


def _interval(value: Median, digits: int) -> str:
    return f"{value.low:.{digits}f}-{value.high:.{digits}f}"


def _where(found: Measured) -> None:
    """The server's statistics at one in flight."""
    from loadtest.layouts.verdict import breakdown_of
    from tritonkit.cli.output import make_table, print_table
    from tritonkit.layouts import LATENCY

    rows = []
    for layout in found.layouts.found:
        parts = breakdown_of(found.of(layout, LATENCY))
        for place, (model, stage) in enumerate(parts.models.items()):
            times = (stage.queue_us, stage.input_us, stage.compute_us, stage.output_us)
            name = model.removesuffix(f"_{layout}")
            rows.append(["" if place else layout, name, *(f"{us:.0f}" for us in times)])
        if len(parts.models) > 1:
            rows.append(
                ["", "between them", "", "", "" if parts.between_us is None else f"{parts.between_us:.0f}", ""]
            )
        rows.append(["", "outside: server, network, client", "", "", f"{parts.outside_us:.0f}", ""])
    title = "where a request's time goes at 1 in flight, mean µs"
    print_table(make_table(_WHERE, rows, right=_WHERE[2:], breaks={"model"}, title=title))
