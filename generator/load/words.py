"""Values, choices and types in the words of messages."""

from __future__ import annotations

import ast
import difflib
import functools
import re
from collections.abc import Iterable
from typing import Any

_MAX_VALUE = 60
_MAX_CHOICES = 20
_MAX_GUESS = 80  # difflib's time grows with the square of the length

# What pydantic's error types want, by the start of their names.
_WANTED = (
    ("int", "a whole number"),
    ("float", "a number"),
    ("decimal", "a number"),
    ("complex", "a number"),
    ("string", "text"),
    ("bytes", "text"),
    ("path", "a path"),
    ("url", "a URL"),
    ("uuid", "a UUID"),
    ("bool", "true or false"),
    ("list", "a list"),
    ("tuple", "a list"),
    ("set", "a list"),
    ("frozen_set", "a list"),
    ("iterable", "a list"),
    ("dict", "a mapping"),
    ("mapping", "a mapping"),
    ("model", "a mapping"),
    ("dataclass", "a mapping"),
    ("none", "null"),
    ("datetime", "a date and time such as 2024-01-31T12:00:00"),
    ("date", "a date such as 2024-01-31"),
    ("timezone", "a time zone"),
    ("time_delta", "a duration such as PT30S"),
    ("time", "a time such as 12:00:00"),
)
_EXPECTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|[^\s,]+")


def cut(text: str, limit: int = _MAX_VALUE) -> str:
    """A text shortened to what fits a message."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def code(value: Any) -> str:
    """A value in backticks, as YAML writes it."""
    return f"`{cut(plain(value))}`"


def plain(value: Any) -> str:
    """A scalar as YAML writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def found(value: Any, raw: str | None = None) -> str:
    """What stands in the document: `the number 24.10`, `a list of 3 items`. `raw`: as it is written there."""
    if value is None:
        return "nothing" if not raw else f"`{raw}`"
    if isinstance(value, bool):
        return code(value)
    if isinstance(value, int | float):
        return f"the number {code(raw or value)}"
    if isinstance(value, str):
        return f"the text {code(value)}" if value else "empty text"
    if isinstance(value, list):
        return f"a list of {counted(len(value), 'item')}" if value else "an empty list"
    if isinstance(value, dict):
        keys = list(value)
        return f"a mapping with {listed(keys, 4)}" if keys else "an empty mapping"
    return code(value)


def counted(count: int, noun: str) -> str:
    """`1 item`, `3 items`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(values: Iterable[Any], limit: int = _MAX_CHOICES) -> str:
    """Choices in backticks, the first of them when there are many."""
    words = [code(value) for value in values]
    more = len(words) - limit
    return ", ".join(words[:limit]) + (f" and {more} more" if more > 0 else "")


def either(words: Iterable[str]) -> str:
    """`a, b or c`, each once."""
    unique = list(dict.fromkeys(words))
    return " or ".join((", ".join(unique[:-1]), unique[-1])) if len(unique) > 1 else unique[0]


def wanted(kind: str) -> str:
    """What pydantic's error of this type wants, in YAML's words; empty when it is no error of a type."""
    if kind.endswith(("_type", "_parsing")) or kind in ("int_from_float", "none_required"):
        return next((words for start, words in _WANTED if kind.startswith(start)), "")
    return ""


def expected(listing: str) -> list[Any]:
    """The values in pydantic's listing of choices: `'a', 'b' or 3`."""
    choices = []
    for word in _EXPECTED.findall(listing):
        if word != "or":
            try:
                choices.append(ast.literal_eval(word))
            except (ValueError, SyntaxError):
                choices.append(word)
    return choices


def guess(word: Any, choices: Iterable[Any]) -> str:
    """The hint that names the choice that `word` is close to; empty when it is close to none."""
    if not isinstance(word, str) or len(word) > _MAX_GUESS:
        return ""
    close = _closest(word, tuple(c for c in choices if isinstance(c, str)))
    return f"did you mean `{close}`?" if close else ""


@functools.lru_cache(maxsize=1024)
def _closest(word: str, choices: tuple[str, ...]) -> str:
    by_shape = {_folded(choice): choice for choice in choices}
    folded = _folded(word)
    if folded in by_shape:
        return by_shape[folded]
    close = difflib.get_close_matches(folded, by_shape, n=1, cutoff=0.7)
    return by_shape[close[0]] if close else ""


def _folded(word: str) -> str:
    return word.lower().replace("-", "_")
