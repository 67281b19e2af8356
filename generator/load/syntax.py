"""The YAML parser's complaints in plain words, at the place where the mistake is."""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

from generator.load import codes
from generator.load.read import split_lines
from generator.problems import Place, Problem


@dataclass(frozen=True)
class _Words:
    pattern: str
    message: str
    hint: str
    opened: bool = False  # the mistake is where the construct began, not where the parser gave up


# The C parser and the pure Python one word the same mistakes differently: a pattern fits both.
_TABLE = (
    _Words(
        r"mapping values are not allowed",
        "a second `:` in one unquoted value, or a key indented under one that already has a value",
        "quote text that holds `: `; otherwise line the key up with its neighbours",
    ),
    _Words(r"could not find expected ':'", "this key has no `:`", "write `key: value`", opened=True),
    _Words(
        r"expected ',' or '\]'",
        "this `[` is not closed, or a `,` is missing between its items",
        "close it with `]`; quote text that holds `: ` or `,`",
        opened=True,
    ),
    _Words(
        r"expected ',' or '\}'",
        "this `{` is not closed, or a `,` is missing between its fields",
        "close it with `}`; quote text that holds `: ` or `,`",
        opened=True,
    ),
    _Words(
        r"found unexpected end of stream|found unexpected document indicator",
        "this quote is not closed",
        "close it with the same quote; write a quote inside single quotes twice",
        opened=True,
    ),
    _Words(
        r"character .*cannot start any token",
        "an unquoted value cannot start with this character",
        "quote the value",
    ),
    _Words(
        r"sequence entries are not allowed",
        "a list item cannot start on the same line as its key",
        "put `- ` on a line of its own, or write the list as [a, b]",
    ),
    _Words(
        r"unknown escape character|escape code|expected escape sequence|invalid escape",
        "double-quoted text holds an escape that YAML does not know",
        r"write `\\` for a backslash, or use single quotes",
    ),
    _Words(
        r"expected (alphabetic or numeric character|alphanumeric)",
        "an unquoted value cannot start with `*` or `&`",
        "quote the value",
        opened=True,
    ),
    _Words(
        r"expected '-' indicator",
        "expected the next `- ` item of the list here",
        "line it up with the items above, or with the key that holds the list",
    ),
    _Words(
        r"did not find expected key|expected <block end>",
        "this does not continue the block above it",
        "line it up with the keys or items it belongs to; quote a value that goes on after a quote or bracket",
    ),
    _Words(
        r"expected comment or line break|expected chomping or indentation",
        "text after `|` or `>` must start on the next line",
        "put the text on the lines below, indented",
    ),
    _Words(
        r"node content",
        "a value is missing here",
        "write a value, or quote the character that stands here",
    ),
    _Words(
        r"<document start>",
        "there is text after the end of the document, or an unknown `%` directive",
        "one file holds one document",
    ),
    _Words(r"incompatible YAML document", "this version of YAML is not known", "remove the %YAML line"),
)


def syntax_problem(error: Exception, text: str, file: str) -> Problem:
    """The problem that a parser's error stands for; `text` is what was parsed."""
    lines = split_lines(text)
    said = str(getattr(error, "problem", None) or error)
    here = _place(getattr(error, "problem_mark", None), lines, file)
    opened = _place(getattr(error, "context_mark", None), lines, file)
    tab = _tab(opened or here, here, lines, file, said)
    if tab is not None:
        message = f"a tab at line {tab.line}, column {tab.column} is used for indentation"
        return Problem(codes.TAB, tab, "", message, "indent with spaces")
    if here is not None and "node content" in said and here == _end(lines, file):
        message = "the file ends here, but a `[` or `{` before is not closed"
        return Problem(codes.SYNTAX, here, "", message, "close it with `]` or `}`")
    for words in _TABLE:
        if re.search(words.pattern, said):
            place = (opened if words.opened else here) or here or Place(file)
            return Problem(codes.SYNTAX, place, "", words.message, words.hint)
    hint = "quote the value if it is text"
    return Problem(codes.SYNTAX, here or Place(file), "", f"this is not valid YAML: {said}", hint)


def _place(mark: yaml.Mark | None, lines: list[str], file: str) -> Place | None:
    """The mark's place; what lies behind the last character is put at the end of the last line in use."""
    if mark is None:
        return None
    place, end = Place(file, mark.line + 1, mark.column + 1), _end(lines, file)
    return end if place.line > end.line else place


def _end(lines: list[str], file: str) -> Place:
    """Behind the last character of the last line that is not blank."""
    used = len(lines)
    while used > 1 and not lines[used - 1].strip():
        used -= 1
    return Place(file, used, len(lines[used - 1]) + 1)


def _tab(first: Place | None, last: Place | None, lines: list[str], file: str, said: str) -> Place | None:
    """The tab in the indentation of the line in error, or of any line of a value that it broke off."""
    if first is None or last is None:
        return None
    start = first.line if "tab" in said else max(first.line, last.line - 1)
    for number in range(last.line, start - 1, -1):
        line = lines[number - 1]
        indent = line[: len(line) - len(line.lstrip(" \t"))]
        if "\t" in indent:
            return Place(file, number, indent.index("\t") + 1)
    return None
