"""`tritonkit demo`: the digits served and classified, as a table and as build/demo.json; then swept for a minute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from generator.project import Project
    from tritonkit.demo import Demonstration


@click.command("demo")
@click.argument("spec", default="specs/digits.yaml", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print what was seen as JSON instead of a table.")
@click.option("--sweep/--no-sweep", default=True, show_default=True, help="End with a load test of two delays.")
def command(spec: Path, as_json: bool, sweep: bool) -> None:
    """Serve SPEC (default: specs/digits.yaml), classify its held-out data over HTTP and gRPC, and stop.

    Then the queue delay is swept for less than a minute, under open-loop load; the report is an HTML file.
    """
    import json

    from generator.project import Project
    from generator.whole_file import write_whole
    from tritonkit.cli.output import print_json, progress, say
    from tritonkit.cli.signals import terminate_as_interrupt
    from tritonkit.demo import demonstrate

    project = Project.find()
    with terminate_as_interrupt(), progress("rendering") as update:
        seen = demonstrate(spec, project, update)
    file = project.root / "build" / "demo.json"
    write_whole(file, json.dumps(seen.as_json(), indent=2) + "\n")
    if as_json:
        print_json(seen.as_json())
    else:
        _show(seen)
    say(f"wrote {file.relative_to(project.root)}")
    if not seen.holds:
        say(
            f"{seen.pipeline}: not as promised: an error, or an accuracy below {seen.floor} or unlike the model's own"
        )
        click.get_current_context().exit(1)
    if sweep:
        _sweep(spec, project, on_stdout=not as_json)


def _sweep(spec: Path, project: Project, *, on_stdout: bool) -> None:
    """Its choice, and where its report lies. A spec that cannot be swept is no mistake here."""
    from generator.problems import ProblemsError, errors
    from tritonkit.cli.load_output import seldom_counted
    from tritonkit.cli.output import print_line, progress, say, shown_path
    from tritonkit.cli.signals import terminate_as_interrupt
    from tritonkit.demo import short_sweep

    tell = print_line if on_stdout else say
    try:
        with terminate_as_interrupt(), progress("sweeping the queue delay") as update:
            swept, report = short_sweep(spec, project, seldom_counted(update))
    except ProblemsError as error:
        say(f"no sweep: {errors(error.problems)[0].message}")
        return
    if on_stdout:
        click.echo()
    tell(f"{swept.pipeline} under {swept.rate_rps:g} requests a second, sweeping the queue delay: {swept.choice.why}")
    tell(f"report   {shown_path(report)}")


def _show(seen: Demonstration) -> None:
    from rich.table import Table

    from tritonkit.cli.output import print_table

    table = Table(title=f"{seen.pipeline} on the embedded server", title_justify="left", box=None, pad_edge=False,
                  padding=(0, 3, 0, 0))  # fmt: skip
    table.add_column("protocol")
    table.add_column("images")
    for column in ("accuracy", "requests", "errors", "p50 ms", "p95 ms", "p99 ms", "mean batch"):
        table.add_column(column, justify="right")
    for p in seen.passes:
        table.add_row(
            p.protocol, p.encoding, f"{p.accuracy:.4f}", str(p.requests), str(p.errors),
            f"{p.p50_ms:.1f}", f"{p.p95_ms:.1f}", f"{p.p99_ms:.1f}", f"{p.mean_batch:.1f}",
        )  # fmt: skip
    table.add_row("none", "png", f"{seen.accuracy_alone:.4f}", end_section=True)
    print_table(table)
    click.echo(
        f"\n{seen.made['in_flight']} requests in flight, the next sent when one is answered: a check that it works,\n"
        "not a load test. `none` is the same pipeline run without a server."
    )
