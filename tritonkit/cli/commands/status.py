"""`tritonkit status`: what a running server serves, and how its configuration differs from the rendered one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from deploy.embedded.effective import ModelStatus


@click.command("status")
@click.option("--address", metavar="HOST:PORT", help="A server's HTTP address; else the one that runs here.")
@click.option("--target", help="The target that it was rendered for; else what the running server's record says.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(address: str | None, target: str | None, as_json: bool) -> None:
    """Show the models of a running server; exit 1 if one is not ready or not as rendered."""
    from dataclasses import asdict

    from deploy.embedded import effective
    from generator.project import Project
    from tritonkit.cli import servers
    from tritonkit.cli.output import print_json

    server = servers.find(address, "http")
    if server.record is not None and target is None:
        repository = Path(server.record.repositories[0])
    else:
        repository = Project.find().repository(target or "embedded")
    pid = server.record.pid if server.record is not None else None
    found = effective.status(server.address, repository, server_pid=pid)
    if as_json:
        print_json({"address": server.address, "repository": str(repository), "models": [asdict(m) for m in found]})
    else:
        _show(server.address, found)
    if not all(model.ready and not model.differences for model in found):
        click.get_current_context().exit(1)


def _show(address: str, found: list[ModelStatus]) -> None:
    from rich.table import Table

    from tritonkit.cli.output import print_table

    table = Table(title=f"models at {address}", title_justify="left", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in ("model", "ready", "versions", "inferences", "mean batch", "configuration"):
        table.add_column(column, justify="right" if column in {"inferences", "mean batch"} else "left")
    for model in found:
        batch = f"{model.inferences / model.executions:.1f}" if model.executions else "-"
        state = "[green]yes[/]" if model.ready else "[red]no[/]"
        same = "as rendered" if not model.differences else f"[red]{len(model.differences)} difference(s)[/]"
        versions = ", ".join(map(str, model.versions)) or "-"
        table.add_row(model.name, state, versions, str(model.inferences), batch, same if model.ready else "-")
    print_table(table)
    for model in found:
        if model.problem:
            click.echo(f"{model.name}: {model.problem}; its requests fail until the server is restarted")
        for difference in model.differences:
            click.echo(
                f"{model.name}: {difference.field}: rendered {difference.rendered}, served {difference.served}"
            )
