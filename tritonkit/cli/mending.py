"""What `tritonkit lint --fix` and `--diff` show, ask and write."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

import click

from generator.problems import UserError
from tritonkit.cli.output import colour, printable, say, shown_path

if TYPE_CHECKING:
    from generator.lint.mend import Mends
    from generator.lint.run import Linted
    from generator.problems import Problem


def show(linted: Linted, problems: Sequence[Problem]) -> bool:
    """Prints the differences on standard output; whether there are any."""
    mends = _found(linted, problems)
    click.echo(_diff(mends, sys.stdout), nl=False)
    if not mends:
        say("there is nothing that can be mended by itself")
    return bool(mends)


def mend(linted: Linted, problems: Sequence[Problem], *, ask: bool) -> bool:
    """Shows the differences on standard error, asks, and writes them; whether anything was written.

    Raises UserError where there is nobody to ask, and after all others were written if one could not be.
    """
    mends = _found(linted, problems)
    if not mends:
        say("there is nothing that can be mended by itself")
        return False
    click.echo(_diff(mends, sys.stderr), nl=False, err=True)
    if ask and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UserError("nothing was changed: this is no terminal to ask on", "`--fix --yes` changes without asking")
    if ask and not click.confirm(f"change {_count(len(mends.files), 'file')}?", err=True):
        say("nothing was changed")
        return False
    written, refused = 0, []
    for each in mends.files:
        try:
            is_written = each.write()
        except OSError as error:
            refused.append(f"{shown_path(each.file)} ({error.strerror})")
            continue
        if not is_written:
            say(f"{shown_path(each.file)} was changed meanwhile, and is left as it is")
            continue
        written += 1
        say(f"{shown_path(each.file)}: {_count(len(each.mended), 'problem')} mended")
        if each.later:
            say(f"  {_count(len(each.later), 'more problem')} can be mended in another run")
    click.echo(err=True)
    if refused:
        raise UserError(f"{', '.join(refused)} could not be written", "nothing of these was changed")
    return bool(written)


def _found(linted: Linted, problems: Sequence[Problem]) -> Mends:
    from generator.lint.mend import codes_of, mends_of

    mends = mends_of(linted.checked, problems)
    for file, why in mends.left.items():
        say(f"{shown_path(file)} is left as it is: {why}")
    for each in mends.files:
        if each.by_hand:
            say(f"{shown_path(each.file)}: {codes_of(each.by_hand)} cannot be mended for you: mend it by hand")
    return mends


def _diff(mends: Mends, stream: TextIO) -> str:
    text = printable("".join(each.diff(shown_path(each.file)) for each in mends.files))
    return "".join(map(_painted, text.splitlines(keepends=True))) if colour(stream) else text


def _painted(line: str) -> str:
    return click.style(line, fg={"-": "red", "+": "green", "@": "cyan"}.get(line[0]))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
