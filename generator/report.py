"""Problems as people, scripts and GitHub read them. All output is safe to print to a terminal."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from generator.problems import Place, Problem, Severity

_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_NO_FILE = re.compile(r"-|[^/]+:\d+$")  # --rate; 127.0.0.1:8000
_MAX_EXCERPT = 120  # characters of a line; of a longer one, those around the caret
_STYLE = {Severity.ERROR: "1;31", Severity.WARNING: "1;33", Severity.NOTE: "1;36"}
_GITHUB = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def render_text(problems: Iterable[Problem], sources: Mapping[str, str], colour: bool) -> str:
    """Problems by file and line, each with the line it is about, and their count last.

    `sources` maps file names, as in the problems' places, to the files' text; a file that is not in it is
    shown without an excerpt. The text ends with a line break.
    """
    ordered = _sorted(problems)
    wanted = {p.place.file for p in ordered}
    lines = {file: _LINE_BREAK.split(text) for file, text in sources.items() if file in wanted}
    blocks = [_block(problem, lines.get(problem.place.file, []), colour) for problem in ordered]
    return "\n".join([*blocks, _count(ordered) + "\n"])


def render_json(problems: Iterable[Problem]) -> str:
    """Problems as JSON, version 1; `line` and `column` are null where a problem is a file's as a whole."""
    entries = [
        {
            "code": p.code,
            "severity": p.severity.value,
            "file": p.place.file,
            "line": p.place.line or None,
            "column": p.place.column or None,
            "field": p.field,
            "message": p.message,
            "hint": p.hint,
        }
        for p in _sorted(problems)
    ]
    return json.dumps({"version": 1, "problems": entries}, indent=2) + "\n"


def render_github(problems: Iterable[Problem]) -> str:
    """Problems as workflow commands, which GitHub shows as annotations beside the lines."""
    return "".join(_annotation(problem) for problem in _sorted(problems))


def visible(text: str) -> str:
    """The text with control, formatting and other unprintable characters escaped: `\\x1b`, `\\u202e`."""
    return text if text.isascii() and text.isprintable() else "".join(_visible(c) for c in text)


def _visible(character: str) -> str:
    # The category of spaces is Zs: all but the plain one are unprintable to Python, yet harmless.
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    code = ord(character)
    named = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}.get(character)
    return named or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def _sorted(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda p: (p.place.file, p.place.line, p.place.column, p.code))


def _block(problem: Problem, lines: Sequence[str], colour: bool) -> str:
    style = _STYLE[problem.severity]
    head = _paint(f"{problem.severity}[{problem.code}]", style, colour) + ": "
    head += _paint(visible(str(problem.place)), "1", colour)
    out = [head + (f": {visible(problem.field)}" if problem.field else "")]
    out.append(f"  {visible(problem.message)}")
    if 0 < problem.place.line <= len(lines):
        out += _excerpt(lines[problem.place.line - 1], problem.place, style, colour)
    if problem.hint:
        out += ["", *(_paint("hint", "1;36", colour) + f": {visible(hint)}" for hint in problem.hint.split("\n"))]
    return "\n".join(out) + "\n"


def _excerpt(line: str, place: Place, style: str, colour: bool) -> list[str]:
    """The line behind its number, cut around the column, and a caret under it."""
    at = min(max(place.column, 1) - 1, len(line))
    start = max(0, min(at - _MAX_EXCERPT // 2, len(line) - _MAX_EXCERPT))
    end = start + _MAX_EXCERPT
    before = ("…" if start else "") + visible(line[start:at])
    after = visible(line[at:end]) + ("…" if end < len(line) else "")
    number = str(place.line)
    bar, gutter = _paint("|", "34", colour), " " * len(number)
    caret = " " * _width(before) + _paint("^", style, colour)
    return ["", f"  {_paint(number, '34', colour)} {bar} {before}{after}".rstrip(), f"  {gutter} {bar} {caret}"]


def _width(text: str) -> int:
    """The number of a terminal's cells that a text takes."""
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _count(problems: Sequence[Problem]) -> str:
    counts = [(sum(p.severity is severity for p in problems), severity.value) for severity in Severity]
    words = [f"{n} {noun}" if n == 1 else f"{n} {noun}s" for n, noun in counts if n]
    if not words:
        return "found no problems"
    listed = " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
    if not all(map(_is_in_file, problems)):
        return f"found {listed}"
    files = len({p.place.file for p in problems})
    return f"found {listed} in {files} {'file' if files == 1 else 'files'}"


def _is_in_file(problem: Problem) -> bool:
    """Others are in an option, at an address, or in a folder."""
    name = problem.place.file
    return problem.place.line > 0 or not (_NO_FILE.match(name) or os.path.isdir(name))  # noqa: PTH112  (Path raises for long names)


def _paint(text: str, style: str, colour: bool) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if colour else text


def _annotation(problem: Problem) -> str:
    properties = {"file": visible(problem.place.file)}
    if problem.place.line:
        properties |= {"line": str(problem.place.line), "col": str(problem.place.column)}
    properties["title"] = problem.code
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    message = f"{problem.field}: {problem.message}" if problem.field else problem.message
    lines = [message, f"hint: {problem.hint}"] if problem.hint else [message]
    return f"::{_GITHUB[problem.severity]} {listed}::{_data(chr(10).join(map(visible, lines)))}\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
