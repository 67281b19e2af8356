"""The words for what stands in a file and for what is valid there."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Collection, Iterable
from itertools import islice

from generator.pbtxt.schema import BOOL, ENUM, INTEGER, REAL, TEXT, Field
from generator.pbtxt.tokens import END
from generator.pbtxt.values import QUOTES

_MAX_SHOWN = 40  # characters of what was found
_MOST_LISTED = 8  # names in one message
_MAX_GUESS = 80  # difflib's time grows with the square of the length
_VALID = {TEXT: "text in quotes", REAL: "a number", BOOL: "`true` or `false`"}


def shown(text: str) -> str:
    """A text, cut when it is long."""
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def found(here: str) -> str:
    """What a token or word is, with its text."""
    if here == END:
        return "the file's end"
    if here[0] in QUOTES:
        return f"the text `{shown(here)}`"
    if here in ("{", "<"):
        return f"a block (`{here}`)"
    if here == "[":
        return "a list (`[`)"
    if here[0].isdigit() or (here[0] in "+-." and here[1:2].isdigit()):
        return f"the number `{shown(here)}`"
    if here[0].isalpha() or here[0] == "_":
        return f"the word `{shown(here)}`"
    return f"`{shown(here)}`"


def valid(field: Field) -> str:
    """What a value of a field has to be."""
    if field.kind == INTEGER:
        return f"a whole number from {field.low} to {field.high}"
    if field.kind == ENUM:
        return listed(field.choices)
    return _VALID.get(field.kind, "a block: `{ … }`")


def listed(names: Iterable[str]) -> str:
    """`` `a`, `b` ``, in the given order."""
    return ", ".join(f"`{name}`" for name in names)


def some(names: Collection[object], most: int = _MOST_LISTED, quote: str = "`") -> str:
    """The first of the names, and how many more there are; `none` where there is none."""
    left = len(names) - most
    shown = ", ".join(f"{quote}{name}{quote}" for name in islice(names, most))
    return (f"{shown} and {left} more" if left > 0 else shown) or "none"


def guess(word: str, choices: Iterable[str]) -> str:
    """The choice that a word is close to, in any case, with `-` for `_`, or without a prefix as TYPE_; else empty."""
    if len(word) > _MAX_GUESS:
        return ""
    folded = {_folded(choice): choice for choice in choices}
    asked = _folded(word)
    ending = [choice for name, choice in folded.items() if name.endswith(f"_{asked}")]
    if asked in folded:
        return folded[asked]
    if len(ending) == 1:
        return ending[0]
    close = difflib.get_close_matches(asked, folded, n=1, cutoff=0.7)
    return folded[close[0]] if close else ""


def did_you_mean(choice: str) -> str:
    """The hint for a guess; empty for none."""
    return f"did you mean `{choice}`?" if choice else ""


def character(text: str) -> str:
    """A character that no text-proto has outside texts and comments: its number and name."""
    code = ord(text)
    if 0xDC80 <= code <= 0xDCFF:
        return f"the byte 0x{code - 0xDC00:02x}, which is not UTF-8 text"
    name = unicodedata.name(text, "")
    return f"the character U+{code:04X}" + (f" ({name.lower()})" if name else "")


def _folded(word: str) -> str:
    return word.lower().replace("-", "_")
