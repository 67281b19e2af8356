"""What commands print: data on standard output, everything else on standard error, colours on a terminal alone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from generator.problems import Problem

if TYPE_CHECKING:
    from rich.table import Table


def colour(stream: Any) -> bool:
    """Whether `stream` is a terminal that wants colours (NO_COLOR turns them off)."""
    return bool(stream.isatty()) and "NO_COLOR" not in os.environ


def show_problems(problems: Sequence[Problem], form: str = "text") -> None:
    """All problems: as text on standard error, or as `json` or `github` on standard output."""
    from generator import report

    if form == "json":
        click.echo(report.render_json(problems))
    elif form == "github":
        click.echo(report.render_github(problems), nl=False)
    elif problems:
        click.echo(report.render_text(problems, sources(problems), colour=colour(sys.stderr)), err=True, nl=False)


def sources(problems: Sequence[Problem]) -> dict[str, str]:
    """The texts of the files that problems point into, for the excerpts; unreadable ones are left out."""
    texts = {}
    for file in {problem.place.file for problem in problems}:
        try:
            texts[file] = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
    return texts


def say(message: str) -> None:
    """A line on standard error."""
    click.echo(message, err=True)


def print_json(data: Any) -> None:
    """Data for scripts."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def print_table(table: Table) -> None:
    """A table on standard output."""
    from rich.console import Console

    Console(no_color=not colour(sys.stdout), width=None if sys.stdout.isatty() else 120).print(table)


@contextmanager
def progress(message: str) -> Iterator[Callable[[str], None]]:
    """A spinner on a terminal; elsewhere the plain lines. Yields a function that replaces the text."""
    if not sys.stderr.isatty():
        say(message)
        yield say
        return
    from rich.console import Console

    with Console(stderr=True).status(message) as status:
        yield status.update
