"""`tritonkit update`: a running server is brought to the specs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from deploy.embedded.update import Update


@click.command("update")
@click.argument("pipelines", nargs=-1, metavar="[NAME]...")
@click.option("--interrupt", is_flag=True, help="Also make a change during which requests fail.")
@click.option("--address", metavar="HOST:PORT", help="Which of this project's servers, if several run.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def command(pipelines: tuple[str, ...], interrupt: bool, address: str | None, as_json: bool) -> None:
    """Render the specs and load what changed into the running server (NAMEs: only these pipelines).

    It is a server that `tritonkit serve --updatable` runs.

    New versions are tried beside the running ones first. If one does not load, the server goes on with what it had,
    the repository stays as it was, and the exit status is 1. Requests in flight are answered.
    """
    from deploy.embedded.refresh import refresh
    from generator.project import Project
    from tritonkit.cli import servers
    from tritonkit.cli.output import progress, show_problems
    from tritonkit.cli.signals import terminate_as_interrupt

    record = servers.recorded(address)
    project = Project.find()
    with terminate_as_interrupt(), progress("updating the server") as say:
        done = refresh(project, record, project.root / servers.RUNS, pipelines, interrupt=interrupt, on_progress=say)
    show_problems(done.problems)
    show_update(record.http_address, done.update, as_json=as_json)


def show_update(address: str, update: Update, *, as_json: bool) -> None:
    """A table, or JSON, of the versions before and after."""
    from dataclasses import asdict

    from rich.table import Table

    from tritonkit.cli.output import print_json, print_table, say

    if as_json:
        print_json({"address": address, **asdict(update)})
    else:
        table = Table(
            title=f"models at {address}", title_justify="left", box=None, pad_edge=False, padding=(0, 3, 0, 0)
        )
        for column in ("model", "", "versions before", "versions now"):
            table.add_column(column)
        for model in update.models:
            table.add_row(model.name, model.kind, _listed(model.before), _listed(model.after))
        print_table(table)
    for name in update.untried:
        say(f"{name}: its files are too large to be tried beside the running versions; it was loaded at once")
    for name in update.stale:
        say(f"{name}: its response cache may still give answers of before; restart the server to empty it")
    for warning in update.warnings:
        say(f"warning: {warning}")
    for version in update.waiting:
        say(f"{version} still answers its last requests, and goes when they are done")


def _listed(versions: list[int]) -> str:
    return ", ".join(map(str, versions)) or "-"
