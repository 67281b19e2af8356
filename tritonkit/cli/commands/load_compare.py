"""`tritonkit load compare`: whether one load test is better or worse than another."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tritonkit.cli.parameters import Parameter

TO = "--to"
_LONGEST_HEAD = 10  # a figure has as many places

if TYPE_CHECKING:
    from loadtest.report.comparing.compare import Comparison


class Share(Parameter):
    """A share of 1, or a percentage: `5%` is `0.05`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The share. Raises click.BadParameter."""
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = math.nan
        if not 0 <= share < 1:
            self.fail(f"{value} is no share; valid is from 0% to below 100%, such as 5% or 0.05", param, ctx)
        return share


class SeveralBehindTo(click.Command):
    """`--to B1 B2 B3` names all that follow it, up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click parses them, with `--to` in front of each of the words behind it."""
        found: list[str] = []
        inside = False
        for place, word in enumerate(args):
            if word == "--":
                found += args[place:]
                break
            if word == TO:
                inside = True
                if place + 1 == len(args) or args[place + 1].startswith("-"):
                    raise click.BadOptionUsage(TO, f"Option '{TO}' requires a run, or several.", ctx)
            elif word.startswith("-"):
                inside = word.startswith(f"{TO}=")
                found.append(word)
            else:
                found += [TO, word] if inside else [word]
        return super().parse_args(ctx, found)


@click.command("compare", cls=SeveralBehindTo)
@click.argument("runs", metavar="A B | A... --to B...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(TO, metavar="B...", multiple=True, type=click.Path(path_type=Path),
              help="The runs of the other side, where each side has several: three or more.")  # fmt: skip
@click.option("--threshold", type=Share(), default="5%", show_default=True, help="A change up to this is none.")
@click.option("--fail-undecided", is_flag=True,
              help="Exit with 1 as well where one of the figures cannot be told to have changed or not.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    runs: tuple[Path, ...], to: tuple[Path, ...], threshold: float, fail_undecided: bool, as_json: bool
) -> int:
    """Say whether the load test in folder B is better or worse than that in A.

    Compares p99, p50 and throughput, each with the interval that holds its true change at 99 % confidence; where the
    requests do not tell enough for that, it says how sure the interval is, and the change cannot be told. Warns of
    what else differs between the two.

    Runs of the same thing differ by more than their requests tell, most of all on a machine that is shared, and one
    run a side cannot know by how much. `A1 A2 A3 --to B1 B2 B3` compares several: then the intervals know it. All
    runs of a side have to be of the same spec, rate and machine.

    Exit status: 0 better, no difference, or none that can be told; 1 worse by more than the threshold (or bad input;
    with --fail-undecided also where it cannot be told), 2 ours.
    """
    from loadtest.report.comparing.compare import compare
    from tritonkit.cli.output import print_json, say

    if not to and len(runs) != 2:
        raise click.UsageError("Missing argument 'B'." if len(runs) < 2 else
                               f"{len(runs)} runs are of one side: name those of the other behind {TO}")  # fmt: skip
    first, second = (runs, to) if to else (runs[:1], runs[1:])
    found = compare(first, second, threshold)
    for warning in found.warnings:
        say(f"warning: {warning}")
    if as_json:
        print_json(found.as_json())
    else:
        _show(found)
    return 1 if found.is_regression or (fail_undecided and not found.is_decided) else 0


def _show(found: Comparison) -> None:
    from loadtest.report.words import confidence, number, plain
    from tritonkit.cli.output import make_table, print_line, print_table

    sure = {m.name: plain(confidence(m.ratio.confidence)) for m in found.measures}
    alike = len(set(sure.values())) == 1
    rows = [
        [f"{m.name}, {m.unit}" if m.unit == "ms" else m.unit, number(m.a), number(m.b), m.change,
         m.verdict if m.told else "cannot be told" if m.compared else "not compared"]
        for m in found.measures
    ]  # fmt: skip
    columns = ("", *_heads(found), f"change at {sure['p99']}" if alike else "change", "")
    # 80 columns hold it: names of folders are no heads of columns then, and a change as large as none is broken.
    print_table(make_table(columns, rows, right=columns[1:4], breaks=columns[3:4]))
    click.echo()
    if not alike:
        each = ", ".join(f"{name} {own}" for name, own in sure.items())
        print_line(f"How sure each interval is: {each}. Too few requests tell no more.")
    for side, names in zip(columns[1:3], (found.a, found.b), strict=True):
        if side not in names and not found.of_several:
            print_line(f"{side} is {names[0]}.", hang=2)
    if found.of_several:
        p99 = found.measures[0]
        print_line(f"{p99.name} of each run, {p99.unit}: {_each(p99.of_a)}; against {_each(p99.of_b)}.")
    else:
        print_line("Of one run a side: that runs of the same thing differ is not in these intervals (see --to).")
    print_line(found.sentence)


def _heads(found: Comparison) -> tuple[str, str]:
    """Of the two sides' columns; two columns of a table need different ones."""
    if found.of_several:
        return f"A, {len(found.a)} runs", f"B, {len(found.b)} runs"
    a, b = found.a[0], found.b[0]
    return (a, b) if a != b and max(len(a), len(b)) <= _LONGEST_HEAD else ("A", "B")


def _each(values: tuple[float, ...]) -> str:
    from loadtest.report.words import number

    return ", ".join(map(number, values))
