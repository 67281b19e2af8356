"""`tritonkit engines`: what has been built, and whether it is still what the specs ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from generator.engine.install.listing import Listed


@click.command("engines")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@click.option("--check", is_flag=True, help="Exit 1 if any engine is missing, stale or damaged.")
def command(as_json: bool, check: bool) -> None:
    """List the engines of the project, and whether each is what its spec asks for now."""
    from generator.engine.install.listing import listed
    from generator.problems import errors
    from generator.project import Project
    from generator.workspace import open_workspace
    from tritonkit.cli.output import print_json, print_table, show_problems

    project = Project.find()
    work = open_workspace(project)
    show_problems(work.problems)
    found = listed(work)
    if as_json:
        print_json([_as_json(one) for one in found])
    elif found:
        print_table(_table(found))
    if check and (errors(work.problems) or any(one.state in {"not built", "stale", "damaged"} for one in found)):
        click.get_current_context().exit(1)


def _as_json(one: Listed) -> dict[str, Any]:
    return {
        "target": one.target, "model": one.model, "version": one.version, "state": one.state, "why": one.why,
        "asked": one.asked, "engine": one.manifest,
    }  # fmt: skip


def _table(found: list[Listed]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("target", "model", "asked for", "built", "accuracy", "state"):
        table.add_column(column, overflow="fold")
    for one in found:
        metric = ((one.manifest or {}).get("accuracy") or {}).get("metric")
        accuracy = "" if not metric else f"{metric['name']} {metric['value']:.4f} (FP32 {metric['fp32']:.4f})"
        built = "" if one.manifest is None else f"{one.manifest['engine']} {one.manifest['precision']}"
        state = one.state + (f": {one.why}" if one.why else "")
        cells = (one.target, f"{one.model} {one.version}", one.asked, built, accuracy, state)
        table.add_row(*map(escape, cells))
    return table
