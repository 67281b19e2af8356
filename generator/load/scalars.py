"""What an unquoted YAML scalar means: YAML 1.2's core schema, less the numbers that readers disagree on.

`yes`, `off`, `1:30` and `2024-01-31` are text, as in YAML 1.2 and unlike PyYAML's 1.1. `017` (15 or 17?)
and `0o17` are refused: nobody can tell which of the two a file means.
"""

from __future__ import annotations

import math
import re

Scalar = None | bool | int | float | str

_CONSTANTS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_STARTS_NUMBER = frozenset("+-.0123456789")
_DECIMAL = re.compile(r"[-+]?[0-9]+", re.ASCII)
_HEX = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)
_OCTAL = re.compile(r"0o[0-7]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)

_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1
_MAX_INT_CHARACTERS = 64  # far more than 64 bits need, far less than Python refuses to convert


class NumberRefusedError(Exception):
    """An unquoted number that is ambiguous or does not fit: `message` says why, `hint` how to write it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def resolve(text: str) -> Scalar:
    """The value of an unquoted scalar. Raises NumberRefusedError for a number that is not taken."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _STARTS_NUMBER:
        return text
    if _DECIMAL.fullmatch(text):
        return _decimal(text)
    if _HEX.fullmatch(text):
        return _in_64_bits(text, 16)
    if _OCTAL.fullmatch(text):
        value = _in_64_bits(text, 8)
        raise NumberRefusedError(
            f"`{text}` is octal to some readers of YAML and text to others",
            f'write {value} for the number, "{text}" for the text',
        )
    return _float(text) if _FLOAT.fullmatch(text) else text


def _decimal(text: str) -> int:
    digits = text.lstrip("+-")
    value = _in_64_bits(text, 10)
    if len(digits) > 1 and digits[0] == "0":
        raise NumberRefusedError(
            f"`{text}` starts with a zero: some readers of YAML take it as octal, others as decimal",
            f'write {value} for the number, "{text}" for the text',
        )
    return value


def _in_64_bits(text: str, base: int) -> int:
    value = int(text, base) if len(text) <= _MAX_INT_CHARACTERS else None
    if value is None or not _MIN_INT <= value <= _MAX_INT:
        raise NumberRefusedError(f"the number `{_cut(text)}` does not fit 64 bits", "quote it if it is text")
    return value


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise NumberRefusedError(
            f"the number `{_cut(text)}` is too large for a floating point number", "quote it if it is text"
        )
    return value


def _cut(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
