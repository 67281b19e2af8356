"""`tritonkit doctor`: this machine, and what to mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from generator.project import Project


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def command(as_json: bool) -> None:
    """Check what the embedded server needs; exit 1 if something has to be mended."""
    from dataclasses import asdict

    from deploy.embedded.doctor import checks
    from generator.project import NoProjectError, Project
    from tritonkit.cli import servers
    from tritonkit.cli.output import print_json

    try:
        project = Project.find()
    except NoProjectError:
        found = checks()
    else:
        found = checks(shm_bytes=_shm_bytes(project), state_directory=project.root / servers.RUNS)
    if as_json:
        print_json([asdict(check) for check in found])
    else:
        width = max(len(check.name) for check in found)
        for check in found:
            word, hue = ("fine", "green") if check.ok else (("note", "yellow") if check.note else ("mend", "red"))
            click.echo(f"{click.style(word, fg=hue)}  {check.name:{width}}  {check.found}")
            if check.remedy and not check.ok:
                click.echo(f"      {'':{width}}  {check.remedy}")
    if any(not check.ok and not check.note for check in found):
        click.get_current_context().exit(1)


def _shm_bytes(project: Project) -> int:
    """What `tritonkit serve` would need for the project's specs; those with mistakes count for nothing here."""
    from deploy.embedded.doctor import MIN_SHM_BYTES
    from deploy.embedded.needs import needs_of
    from generator.problems import UserError
    from generator.workspace import open_workspace

    try:
        plans = open_workspace(project, target="embedded").plans.get("embedded", [])
    except UserError:
        return MIN_SHM_BYTES
    return needs_of(plans).shm_bytes if plans else MIN_SHM_BYTES
