"""`tritonkit rollback`: an earlier version of an engine is served again."""

from __future__ import annotations

import click

from tritonkit.cli.parameters import Version


@click.command("rollback")
@click.argument("name")
@click.option("--to", type=Version(), help="This version; else the next lower one than is served.")
@click.option("--dry-run", is_flag=True, help="Change nothing; print what would change in the spec.")
@click.option("--address", metavar="HOST:PORT", help="Which of this project's servers, if several run.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def command(name: str, to: str | None, dry_run: bool, address: str | None, as_json: bool) -> None:
    """Serve an earlier version of NAME (a pipeline or an engine) alone: in its spec, and in the running server.

    The spec gets `versions: {specific: [N]}`; nothing else in it changes, and other pipelines stay as they are. If
    the server does not load that version, the spec stays as it was, and the exit status is 1. It is 1 as well where
    the server was started without --updatable, and has to be restarted.
    """
    from dataclasses import fields

    from deploy.embedded.rollback import plan_rollback, roll_back
    from deploy.embedded.update import Update
    from generator.problems import UserError
    from generator.project import Project
    from tritonkit.cli import servers
    from tritonkit.cli.commands.update import show_update
    from tritonkit.cli.output import print_json, printable, progress, say, show_problems, shown_path
    from tritonkit.cli.signals import terminate_as_interrupt

    project = Project.find()
    record = servers.recorded_if_any(address)
    planned = plan_rollback(project, name, int(to) if to is not None else None, record)
    spec = shown_path(planned.spec)
    if dry_run:
        diff = planned.diff(spec)
        if as_json:
            print_json({"spec": spec, "to": planned.to, "diff": diff})
        else:
            click.echo(printable(diff), nl=False)
        return
    with terminate_as_interrupt(), progress(f"back to version {planned.to} of {planned.part}") as update:
        done = roll_back(project, planned, record, project.root / servers.RUNS, on_progress=update)
    say(f"{spec}: {planned.part} serves version {planned.to} alone")
    for target, problems in done.left.items():
        why = "; ".join(problem.message for problem in problems)
        say(f"the repository of target `{target}` stays as it is: {why}")
    if record is not None and done.refreshed is not None:
        show_problems(done.refreshed.problems)
        show_update(record.http_address, done.refreshed.update, as_json=as_json)
    elif record is not None:
        raise UserError(
            f"the server at {record.http_address} was started without --updatable: it serves what it did before",
            "restart it; the spec and the repository were changed",
        )
    else:
        say("no server of this project is running: the spec and the repository were changed, nothing was loaded")
        if as_json:
            print_json({"address": None, **{field.name: [] for field in fields(Update)}})
