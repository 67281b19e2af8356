"""`# tritonkit: ignore[TK751] because …`: what a file says need not be told, with the reason that it has to give.

At a line's end it is about that line and the block that begins there, on a line of its own about what comes next, and
before everything else about the whole file. Specs have the same in YAML's comments.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from generator.problems import Place, Problem, Severity

if TYPE_CHECKING:
    from generator.lint.model import Model
    from generator.lint.rule import Edit
    from generator.pbtxt.reader import Read
    from generator.pbtxt.tree import Node

NO_REASON, NO_CODE, UNUSED, UNCLEAR = "TK535", "TK536", "TK537", "TK538"
WARNING = Severity.WARNING
CODES = {
    NO_REASON: "A comment that ignores a problem gives no reason",
    NO_CODE: "A comment ignores a code that there is not",
    UNUSED: "A comment ignores a problem that there is not",
    UNCLEAR: "A comment for tritonkit cannot be understood",
}
FORM = "# tritonkit: ignore[TK751] because REASON"
# In any case of letters; one without the colon is told, where it would be for us. None takes more than linear time.
_MARK = r"(?<!#)#++[^\S\n]*+tritonkit(?:\s*:|(?=\s+ignore\b))"
_COMMENT = re.compile(rf"{_MARK}(.*)", re.IGNORECASE)
_UNLESS = "unless another server needs it (`--server`)"
_IGNORE = re.compile(r"\s*+ignore\s*+\[([\w\s,-]*+)\]\s*+(.*)", re.IGNORECASE)
_REASON = re.compile(r"because\b.*\w", re.IGNORECASE)
# A comment of YAML that is for us: at the line's end or alone.
_IN_YAML = re.compile(rf"(?:^|(?<=\s)){_COMMENT.pattern}", re.IGNORECASE)


@dataclass
class Ignore:
    """One comment: its codes, and the lines it is about (`last` 0: the whole file). `used` are codes that it hid."""

    place: Place
    codes: tuple[str, ...]
    first: int
    last: int
    used: set[str] = field(default_factory=set)

    @property
    def until(self) -> float:
        """The last line of all that it is about."""
        return self.last or math.inf


def has_comments(text: str) -> bool:
    """Whether a comment for us may be in a text; without one it costs nothing more."""
    return _COMMENT.search(text) is not None


def without_ignored(
    model: Model, found: Sequence[tuple[Problem, tuple[Edit, ...]]]
) -> list[tuple[Problem, tuple[Edit, ...]]]:
    """The problems of a model that its config.pbtxt does not ignore, and those of its comments."""
    try:
        if not has_comments(model.text.source.text):
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
    problems = list(problems)
    of_code: dict[str, list[Ignore]] = {}
    for ignore in ignores:
        for code in ignore.codes:
            of_code.setdefault(code, []).append(ignore)
    asked: dict[str, list[tuple[int, int]]] = {}
    for index, problem in enumerate(problems):
        if problem.code in of_code:
            asked.setdefault(problem.code, []).append((line_of(problem), index))
    hidden = {index for code, found in asked.items() for index in _hidden(code, sorted(found), of_code[code])}
    return [problem for index, problem in enumerate(problems) if index not in hidden]


def _hidden(code: str, found: Sequence[tuple[int, int]], ignores: Sequence[Ignore]) -> Iterator[int]:
    """Which of the problems of a code, given by line and index in the order of lines, comments with it cover."""
    coming = deque(sorted(ignores, key=lambda ignore: ignore.first))
    begun: list[Ignore] = []  # those that may be needed now for the first time
    until = -1.0  # the last line of all that have begun
    for line, index in found:
        while coming and coming[0].first <= line:
            begun.append(coming.popleft())
            until = max(until, begun[-1].until)
        for ignore in begun:
            if line <= ignore.until:
                ignore.used.add(code)
        begun.clear()  # the others ended before this line
        if line <= until:
            yield index


def unused(ignores: Iterable[Ignore]) -> list[Problem]:
    """What was ignored and was not there to be told."""
    return [
        Problem(UNUSED, ignore.place, "", f"there is no {code} here to ignore", _without(code, ignore), WARNING)
        for ignore in ignores
        for code in ignore.codes
        if code not in ignore.used
    ]


def _without(code: str, ignore: Ignore) -> str:
    """What to do about a code that is not needed."""
    needed = [other for other in ignore.codes if other in ignore.used]
    if not needed:
        return f"remove the comment, {_UNLESS}"
    are = "is" if len(needed) == 1 else "are"
    return f"take {code} out of the brackets, {_UNLESS}; {' and '.join(needed)} {are} needed"


# Comments ----------------------------------------------------------------------------------------------------------


def of_config(reading: Read) -> tuple[list[Ignore], list[Problem]]:
    """The comments of a config.pbtxt, and what is wrong with them."""
    source, ignores, problems = reading.source, [], []
    blocks: _Blocks | None = None  # looked up when the first comment is about one
    for comment in source.comments:
        if _COMMENT.search(comment.text) is None:
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
            blocks = _Blocks(reading) if blocks is None else blocks
            first, last = line, blocks.of_line.get(line, line)
        else:
            first = source.place(token).line
            blocks = _Blocks(reading) if blocks is None else blocks
            last = blocks.of_token.get(token, first)
        ignores.append(Ignore(comment.place, codes, first, last))
    return ignores, problems


def of_yaml(text: str, file: str) -> tuple[list[Ignore], list[Problem]]:
    """The comments of a spec, and what is wrong with them."""
    ignores: list[Ignore] = []
    problems: list[Problem] = []
    lines = re.split(r"\r\n|\r|\n", text)
    following = _following(lines)
    begins = following[0] or len(lines)
    ends: dict[int, int] = {}  # of blocks, by their first lines
    for number, line in enumerate(lines, 1):
        found = _IN_YAML.search(line)
        if found is None:
            continue
        place = Place(file, number, found.start() + 1)
        codes, wrong = _understood(found[0], place)
        problems += wrong
        if not codes:
            continue
        alone = not line[: found.start()].strip()
        if alone and number <= begins:
            first = last = 0
        else:
            first = following[number] if alone else number
            if first not in ends:
                ends[first] = _end_of_block(lines, first)
            last = ends[first]
        ignores.append(Ignore(place, codes, first, last))
    return ignores, problems


def _understood(text: str, place: Place) -> tuple[tuple[str, ...], list[Problem]]:
    """The codes of a comment that there are, and what is wrong with it."""
    found = _COMMENT.search(text)
    ignore = _IGNORE.match(found[1]) if found and ":" in found[0][: found.start(1) - found.start()] else None
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


class _Blocks:
    """The last line of the values whose name or opening bracket stands in a line, or is a token."""

    def __init__(self, reading: Read) -> None:
        self.of_line: dict[int, int] = {}
        self.of_token: dict[int, int] = {}
        place = reading.source.place
        for node in _nodes(reading.tree):
            last = place(node.end - 1).line
            for token in {node.name_at, node.start}:
                line = place(token).line
                self.of_line[line] = max(last, self.of_line.get(line, 0))
                self.of_token[token] = max(last, self.of_token.get(token, 0))


def _says(line: str) -> bool:
    """Whether a line of YAML holds more than a comment."""
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _following(lines: Sequence[str]) -> list[int]:
    """Of each line's number (and of 0) that of the first one after it that says something; 0 where none does."""
    found = [0]
    for number in range(len(lines), 0, -1):
        found.append(number if _says(lines[number - 1]) else found[-1])
    return found[::-1]


def _end_of_block(lines: Sequence[str], first: int) -> int:
    """The last line of what begins at line `first` of a YAML text: what is indented more, and the items of a list."""
    if not first:
        return -1  # nothing follows
    line = lines[first - 1]
    indent = len(line) - len(line.lstrip())
    last = first
    for number in range(first + 1, len(lines) + 1):
        below = lines[number - 1]
        if not _says(below):
            continue
        inner = len(below) - len(below.lstrip())
        is_item = inner == indent and below.lstrip().startswith("- ") and not line.lstrip().startswith("- ")
        if inner <= indent and not is_item:
            break
        last = number
    return last
