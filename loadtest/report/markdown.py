"""The report in short, for a pull request: the verdict, the figures, what to take, and how to repeat it."""

from __future__ import annotations

import re

from loadtest.report import words
from loadtest.report.page import Report
from loadtest.report.tables import Table
from loadtest.report.view import View

_MARKS = {"pass": "✅", "fail": "❌", "undecided": "❔", "invalid": "🚫"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&!@])")
_SHOWN_ROWS = 60


def markdown_of(report: Report) -> str:
    """GitHub's Markdown. Texts of specs and servers are escaped: they can neither format, link nor mention."""
    parts = []
    if report.overview is not None:
        parts.append("## Load tests side by side\n\n" + _table(report.overview))
    parts += [_item(view) for view in report.views]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Any text as a text."""
    return _SPECIAL.sub(r"\\\1", words.plain(words.text(text)))


def _item(view: View) -> str:
    parts = [f"## {_MARKS[view.verdict]} {view.verdict}: {escaped(view.headline)}", f"{escaped(view.title)}"]
    parts.append(f"**{escaped(view.sentence)}**")
    if view.reasons:
        parts.append("\n".join(f"- {escaped(reason)}" for reason in view.reasons))
    if view.how_sure:
        parts.append(escaped(view.how_sure))
    parts += [_table(titled.table) for titled in view.tables[:1]]
    if view.warnings:
        parts.append("\n".join(f"> - {escaped(warning)}" for warning in view.warnings))
    for name, block in view.blocks:
        fence = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`+", block)), 3)
        lines = "\n".join(words.text(line) for line in block.split("\n"))
        parts.append(f"{escaped(name)}:\n\n{fence}\n{lines}\n{fence}")
    return "\n\n".join(parts)


def _table(table: Table) -> str:
    head = "| " + " | ".join(escaped(column.heading) for column in table.columns) + " |"
    rule = "|" + "|".join("---:" if column.is_number else ":---" for column in table.columns) + "|"
    rows = ["| " + " | ".join(escaped(shown) for _, _, shown in cells) + " |" for cells in table.cells()]
    left = len(rows) - _SHOWN_ROWS
    more = [f"\n… and {left} more rows"] if left > 0 else []
    return "\n".join([head, rule, *rows[:_SHOWN_ROWS], *more])
