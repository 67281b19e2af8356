"""`# tritonkit: ignore[TK751] because …`: what a file says need not be told, with the reason that it has to give.

At a line's end it is about that line and the block that begins there, on a line of its own about what comes next, and
before everything else about the whole file. Specs have the same in YAML's comments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from generator.problems import Place, Problem, Severity

if TYPE_CHECKING:
    from generator.lint.model import Model
    from generator.lint.rule import Edit
    from generator.pbtxt.reader import Read
    from generator.pbtxt.tree import Node

MARK = "tritonkit:"  # a file without it costs nothing
NO_REASON, NO_CODE, UNUSED, UNCLEAR = "TK535", "TK536", "TK537", "TK538"
CODES = {
    NO_REASON: "A comment that ignores a problem gives no reason",
    NO_CODE: "A comment ignores a code that there is not",
    UNUSED: "A comment ignores a problem that there is not",
    UNCLEAR: "A comment for tritonkit cannot be understood",
}
FORM = "# tritonkit: ignore[TK751] because REASON"
_COMMENT = re.compile(r"#+\s*tritonkit:\s*(.*)")
_IGNORE = re.compile(r"ignore\s*\[\s*([\w\s,-]*?)\s*\]\s*(.*)")
_REASON = re.compile(r"because\b[\s:]*(.*\w.*)")
# A comment of YAML that is for us: at the line's end or alone.
_IN_YAML = re.compile(r"(?:^|(?<=\s))#+\s*tritonkit:.*")


@dataclass
class Ignore:
    """One comment: its codes, and the lines it is about (`last` 0: the whole file). `used` are codes that it hid."""

    place: Place
    codes: tuple[str, ...]
    first: int
    last: int
    used: set[str] = field(default_factory=set)

    def covers(self, code: str, line: int) -> bool:
        """Whether a problem of `code` at `line` is not to be told."""
        return code in self.codes and (self.last == 0 or self.first <= line <= self.last)


def without_ignored(
    model: Model, found: Sequence[tuple[Problem, tuple[Edit, ...]]]
) -> list[tuple[Problem, tuple[Edit, ...]]]:
    """The problems of a model that its config.pbtxt does not ignore, and those of its comments."""
    try:
        if MARK not in model.text.source.text:
            return list(found)
    except OSError:
        return list(found)
    ignores, own = of_config(model.text)

    def line_of(problem: Problem) -> int:
        # What is found in another file (labels, code) is about the field that names it.
        place = problem.place if problem.place.file == model.file else model.place(problem.field)
        return place.line

    kept = {id(p) for p in kept_of([problem for problem, _ in found], ignores, line_of)}
    # Of a file with mistakes not all rules were asked.
    own += unused(ignores) if model.is_complete else []
    return [pair for pair in found if id(pair[0]) in kept] + [(problem, ()) for problem in own]


def kept_of(
    problems: Iterable[Problem], ignores: Sequence[Ignore], line_of: Callable[[Problem], int]
) -> list[Problem]:
    """The problems that no comment ignores; the comments take note of what they were needed for."""
    kept = []
    for problem in problems:
        covering = [ignore for ignore in ignores if ignore.covers(problem.code, line_of(problem))]
        for ignore in covering:
            ignore.used.add(problem.code)
        if not covering:
            kept.append(problem)
    return kept


def unused(ignores: Iterable[Ignore]) -> list[Problem]:
    """What was ignored and was not there to be told."""
    return [
        Problem(UNUSED, ignore.place, "", f"there is no {code} here to ignore", "remove it", Severity.WARNING)
        for ignore in ignores
        for code in ignore.codes
        if code not in ignore.used
    ]


# Comments ----------------------------------------------------------------------------------------------------------


def of_config(reading: Read) -> tuple[list[Ignore], list[Problem]]:
    """The comments of a config.pbtxt, and what is wrong with them."""
    source, ignores, problems = reading.source, [], []
    for comment in source.comments:
        if MARK not in comment.text:
            continue
        codes, wrong = _understood(comment.text, comment.place)
        problems += wrong
        if not codes:
            continue
        line, token = comment.place.line, comment.token
        before = source.place(token - 1).line if token else 0
        if token == 0:
            first = last = 0
        elif before == line:
            first, last = line, max([line, *(_last_line(reading, node) for node in _begin_at_line(reading, line))])
        else:
            first = source.place(token).line
            here = [node for node in _nodes(reading.tree) if token in (node.name_at, node.start)]
            last = max([first, *(_last_line(reading, node) for node in here)])
        ignores.append(Ignore(comment.place, codes, first, last))
    return ignores, problems


def of_yaml(text: str, file: str) -> tuple[list[Ignore], list[Problem]]:
    """The comments of a spec, and what is wrong with them."""
    ignores: list[Ignore] = []
    problems: list[Problem] = []
    lines = re.split(r"\r\n|\r|\n", text)
    for number, line in enumerate(lines, 1):
        found = _IN_YAML.search(line) if MARK in line else None
        if found is None:
            continue
        place = Place(file, number, found.start() + 1)
        codes, wrong = _understood(found[0], place)
        problems += wrong
        if not codes:
            continue
        alone = not line[: found.start()].strip()
        if alone and not any(_says(before) for before in lines[: number - 1]):
            first = last = 0
        else:
            first = _next(lines, number) if alone else number
            last = _end_of_block(lines, first)
        ignores.append(Ignore(place, codes, first, last))
    return ignores, problems


def _understood(text: str, place: Place) -> tuple[tuple[str, ...], list[Problem]]:
    """The codes of a comment that there are, and what is wrong with it."""
    found = _COMMENT.search(text)
    ignore = _IGNORE.match(found[1]) if found else None
    given = [code.strip().upper() for code in ignore[1].split(",") if code.strip()] if ignore else []
    if ignore is None or not given:
        return (), [Problem(UNCLEAR, place, "", "this says nothing that is understood", f"write it as `{FORM}`")]
    from generator.codes import CODES as KNOWN
    from generator.lint.select import closest

    problems = [
        Problem(NO_CODE, place, "", f"there is no code `{code}`", closest(code))
        for code in given
        if code not in KNOWN
    ]
    if _REASON.match(ignore[2]) is None:
        text = f"it does not say why {', '.join(given)} can be ignored"
        problems.append(Problem(NO_REASON, place, "", text, "write `because` and the reason behind it"))
    return tuple(dict.fromkeys(code for code in given if code in KNOWN)), problems


# Lines -------------------------------------------------------------------------------------------------------------


def _nodes(node: Node) -> Iterator[Node]:
    """All values below a node."""
    left = list(node.children or ())
    while left:
        node = left.pop()
        yield node
        left += node.children or ()


def _begin_at_line(reading: Read, line: int) -> list[Node]:
    """The values whose name or opening bracket stands in the line."""
    place = reading.source.place
    return [node for node in _nodes(reading.tree) if line in (place(node.name_at).line, place(node.start).line)]


def _last_line(reading: Read, node: Node) -> int:
    return reading.source.place(node.end - 1).line


def _says(line: str) -> bool:
    """Whether a line of YAML holds more than a comment."""
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _next(lines: Sequence[str], number: int) -> int:
    """The line after line `number` that says something; 0 where none does."""
    return next((at for at, line in enumerate(lines[number:], number + 1) if _says(line)), 0)


def _end_of_block(lines: Sequence[str], first: int) -> int:
    """The last line of what begins at line `first` of a YAML text: what is indented more, and the items of a list."""
    if not first:
        return -1  # nothing follows
    line = lines[first - 1]
    indent = len(line) - len(line.lstrip())
    last = first
    for number, following in enumerate(lines[first:], first + 1):
        if not _says(following):
            continue
        inner = len(following) - len(following.lstrip())
        is_item = inner == indent and following.lstrip().startswith("- ") and not line.lstrip().startswith("- ")
        if inner <= indent and not is_item:
            break
        last = number
    return last
