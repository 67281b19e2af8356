"""What commands print: data on standard output, everything else on standard error, colours on a terminal alone."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from generator.problems import Problem
from tritonkit.cli.signals import raise_again

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_PIPED_COLUMNS = 120
_LARGEST_SHOWN_BYTES = 1_000_000  # of larger files no lines are shown


def may_colour() -> bool:
    """Whether a terminal may get colours at all: NO_COLOR (not empty) turns them off, and a dumb one has none."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def colour(stream: Any) -> bool:
    """Whether `stream` is a terminal that wants colours."""
    return bool(stream.isatty()) and may_colour()


def printable(text: str) -> str:
    """The text with what a terminal would obey or cannot show escaped, line breaks apart."""
    from generator.report import visible

    return "\n".join(visible(line) for line in text.split("\n"))


def show_problems(problems: Sequence[Problem], form: str = "text") -> None:
    """All problems: as text on standard error, or as `json` or `github` on standard output."""
    from generator import report

    problems = with_shown_paths(problems)
    if form == "json":
        click.echo(report.render_json(problems), nl=False)
    elif form == "github":
        click.echo(report.render_github(problems), nl=False)
    elif problems:
        click.echo(report.render_text(problems, sources(problems), colour=colour(sys.stderr)), err=True, nl=False)


def with_shown_paths(problems: Sequence[Problem]) -> list[Problem]:
    """The problems with their files as `shown_path` names them."""
    return [replace(p, place=replace(p.place, file=shown_path(p.place.file))) for p in problems]


def sources(problems: Sequence[Problem]) -> dict[str, str]:
    """The texts of the files that problems point into, for the excerpts; unreadable ones are left out."""
    texts = {}
    for file in {problem.place.file for problem in problems if problem.place.line}:
        path = Path(file)
        with suppress(OSError, ValueError):
            if path.is_file() and path.stat().st_size <= _LARGEST_SHOWN_BYTES:
                texts[file] = path.read_bytes().decode("utf-8-sig", "replace")
    return texts


def shown_path(path: str | Path) -> str:
    """Relative to the current directory where it is inside, else as it is."""
    here = Path.cwd()
    path = Path(path)
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) else str(path)


def say(message: str) -> None:
    """A line on standard error."""
    click.echo(printable(message), err=True)


def print_json(data: Any) -> None:
    """Data for scripts."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def print_table(table: Table) -> None:
    """A table on standard output."""
    console = _console()
    if sys.stdout.isatty():
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())  # cells are filled up with blanks


def print_line(text: str, hang: int = 0) -> None:
    """A line on standard output; on a terminal broken between words, the rest `hang` columns in."""
    text = printable(text)
    if sys.stdout.isatty():
        import textwrap

        indent = " " * hang
        text = textwrap.fill(
            text, _console().width, subsequent_indent=indent, break_on_hyphens=False, drop_whitespace=True,
            replace_whitespace=False,
        )  # fmt: skip
    click.echo(text)


def fits(table: Table) -> bool:
    """Whether `print_table` has room for it without breaking a cell."""
    from rich.measure import Measurement

    console = _console()
    return Measurement.get(console, console.options.update(width=100_000), table).maximum <= console.width


def make_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str] = (),
               breaks: Collection[str] = (), title: str | None = None) -> Table:  # fmt: skip
    """A table without lines; the columns in `breaks` give way where there is no room, and no others."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        justify: Literal["right", "left"] = "right" if column in right else "left"
        table.add_column(column, justify=justify, no_wrap=column not in breaks, overflow="fold")
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    return table


def _console() -> Console:
    """Of standard output; where that is no terminal, of 120 columns."""
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(no_color=not colour(sys.stdout))
    return Console(no_color=True, width=_PIPED_COLUMNS)


def seldom(say_it: Callable[[str], None]) -> Callable[[str], None]:
    """Where lines stay (no terminal), without those that differ from the one before in a count alone."""
    if sys.stderr.isatty():
        return say_it
    last = ""

    def told(text: str) -> None:
        nonlocal last
        raise_again()
        kind = re.sub(r"\d+", "#", text)
        if kind != last:
            say_it(text)
        last = kind

    return told


@contextmanager
def progress(message: str) -> Iterator[Callable[[str], None]]:
    """A spinner on a terminal; elsewhere the plain lines. Yields a function that replaces the text.

    That function raises KeyboardInterrupt where an interrupt was swallowed before: what is told of is not begun.
    """
    if not sys.stderr.isatty():
        say(message)
        yield _heeding(say)
        return
    from rich.console import Console
    from rich.text import Text

    def shown(text: str) -> Text:
        return Text(printable(text))  # a string would be taken for markup, in which `[###  ]` is a tag

    with Console(stderr=True).status(shown(message)) as status:
        yield _heeding(lambda text: status.update(shown(text)))


def _heeding(say_it: Callable[[str], None]) -> Callable[[str], None]:
    def told(text: str) -> None:
        raise_again()
        say_it(text)

    return told
