"""`tritonkit doctor`: this machine, and what to mend."""

from __future__ import annotations

import click


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
        runs = Project.find().root / servers.RUNS
    except NoProjectError:
        runs = None
    found = checks(state_directory=runs)
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
