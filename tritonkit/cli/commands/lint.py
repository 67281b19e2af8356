"""`tritonkit lint`: everything that is wrong with specs and configurations, without a server."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("lint")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "json", "github"]), default="text", show_default=True,
              help="How problems are printed.")  # fmt: skip
def command(paths: tuple[Path, ...], form: str) -> None:
    """Check each PATH: specs, config.pbtxt files, model repositories, or folders of them (default: specs/)."""
    from generator.lint import lint
    from generator.problems import errors
    from generator.project import Project
    from tritonkit.cli.output import say, show_problems

    problems, checked = lint(Project.find(), paths)
    show_problems(problems, form)
    if form == "text" and not problems:
        say(f"checked {checked} {'file' if checked == 1 else 'files'}: nothing found")
    if errors(problems):
        click.get_current_context().exit(1)
