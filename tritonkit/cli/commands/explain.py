"""`tritonkit explain`: the page of a code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from generator.lint.explain import Page


_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command("explain")
@click.argument("code", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(code: str | None, as_json: bool) -> None:
    """Explain the CODE of a problem, such as TK502; without one, list all codes."""
    from generator.lint.explain import page_of, pages
    from tritonkit.cli.output import print_json
    from tritonkit.codes import STAGES

    if code is None:
        found = pages(STAGES)
        if as_json:
            print_json([page.as_json() for page in found])
        else:
            _list(found)
        return
    page = page_of(code, STAGES)
    if as_json:
        print_json(page.as_json())
    elif page.is_rule and sys.stdout.isatty():
        _show(page)
    else:
        click.echo(page.text(), nl=False)


def _list(found: list[Page]) -> None:
    stage = ""
    for page in found:
        if page.stage != stage:
            click.echo(("\n" if stage else "") + click.style(page.stage, bold=True))
            stage = page.stage
        severity = f"{page.severity or ''}"
        shown = click.style(f"{severity:8}", fg=_COLOURS[severity]) if severity else " " * 8
        click.echo(f"  {page.code}  {shown}{page.title}")


def _show(page: Page) -> None:
    from rich.console import Console, Group
    from rich.panel import Panel
    from rich.syntax import Syntax
    from rich.text import Text

    from tritonkit.cli.output import colour

    style = f"bold {_COLOURS[str(page.severity)]}"
    head = Text.assemble((page.code, style), " ", (page.title, "bold"))
    kind = Text.assemble((str(page.severity), style), f" · {page.stage}")

    def example(title: str, text: str, edge: str) -> Panel:
        return Panel(
            Syntax(text, "protobuf", theme="ansi_dark", background_color="default"),
            title=title, title_align="left", border_style=edge, width=min(100, Console().width),
        )  # fmt: skip

    source = Text(f"Source: {page.source} ({page.seen})", style="dim")
    # Lines were broken for the source file; a terminal breaks them for itself.
    why = Text("\n\n".join(" ".join(part.split()) for part in page.why.split("\n\n")))
    bad, good = example("bad", page.bad, "red"), example("good", page.good, "green")
    console = Console(no_color=not colour(sys.stdout), width=min(100, Console().width), highlight=False)
    console.print(Group(head, kind, "", why, "", bad, good, source))
