"""Files that are something else than a configuration: a template that is not filled in, bytes that are no text.

Of those one problem says what they are, in the place of one for each character that does not belong there.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from generator.pbtxt import codes
from generator.pbtxt.tokens import Source
from generator.problems import Place, Problem, errors

_PLACEHOLDER = re.compile(r"\$\{[A-Za-z_]\w*\}|\{\{\s*[A-Za-z_][\w.]*\s*\}\}")
_LOOKED_AT = 4096  # characters of a file
# Characters that no text has: control characters other than white space, and bytes that are not UTF-8.
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\ufffd\udc80-\udcff]")
_FEWEST, _SHARE = 8, 0.15
_SIGNATURES = (
    ("\x1f\udc8b", "it begins as a gzip archive"),
    ("PK\x03\x04", "it begins as a zip archive"),
    ("\x7fELF", "it begins as a program or library"),
    ("ftrt", "it begins as a TensorRT plan"),
    ("\udcff\udcfe", "it begins as UTF-16"),
    ("\udcfe\udcff", "it begins as UTF-16"),
)


def in_one(source: Source, problems: list[Problem]) -> list[Problem]:
    """The problems of a file, in which one stands for all those that come of what the file is."""
    if not errors(problems):
        return problems
    return _no_text(source) or _template(source, problems)


def _no_text(source: Source) -> list[Problem]:
    head = source.text[:_LOOKED_AT]
    count = len(_NO_TEXT.findall(head))
    if count < _FEWEST or count < _SHARE * len(head):
        return []
    known = next((f": {what}" for start, what in _SIGNATURES if head.startswith(start)), "")
    hint = "save it as UTF-8" if "UTF-16" in known else "put the configuration there, or remove it"
    return [Problem(codes.SYNTAX, Place(source.file, 1, 1), "", f"this is no text{known}", hint)]


def _template(source: Source, problems: list[Problem]) -> list[Problem]:
    found = list(_PLACEHOLDER.finditer(source.text))
    places = {source.place_at(match.start()): match[0] for match in found}
    if not any(problem.place in places for problem in problems):
        return problems  # those that there are stand in texts or comments
    within = _within(source, found)
    first = min((p.place for p in problems if p.place in places), key=lambda place: (place.line, place.column))
    others = len(found) - 1
    text = f"this is a template: `{places[first]}`"
    text += f" and {others} other placeholder{'s' * (others != 1)} have to be" if others else " has to be"
    hint = "fill it in, for TensorRT-LLM by tensorrtllm_backend's fill_template.py, and check the result"
    whole = Problem(codes.SYNTAX, first, "", f"{text} filled in", hint)
    return [whole, *(problem for problem in problems if not within(problem.place))]


def _within(source: Source, found: list[re.Match[str]]) -> Callable[[Place], bool]:
    """Whether a place is inside a placeholder."""
    spans: dict[int, list[tuple[int, int]]] = {}
    for match in found:
        start = source.place_at(match.start())
        spans.setdefault(start.line, []).append((start.column, start.column + len(match[0])))
    return lambda place: any(start <= place.column < end for start, end in spans.get(place.line, ()))
