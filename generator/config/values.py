"""One YAML value → one scalar of a protobuf field, strictly: nothing is converted but what YAML cannot say."""

from __future__ import annotations

import math
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from generator.collector import did_you_mean, names
from generator.config import codes
from generator.config.descriptors import choices

_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_FLOAT_MAX = (2 - 2**-23) * 2.0**127


class BadValueError(ValueError):
    """A value that a field cannot hold: its code, a sentence and a hint."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


def describe(value: Any) -> str:
    """What was found, in the words of YAML: `` `true` ``, `` `"text"` ``, `a mapping`, `nothing`."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        plain = all(isinstance(item, int | float | str) for item in value) and len(value) <= 16
        return f"`[{', '.join(map(str, value))}]`" if plain else "a list"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        shown = value if len(value) <= 60 else value[:57] + "..."
        return f'`"{shown}"`'
    return f"`{value}`"


def scalar(field: FieldDescriptor, value: Any) -> Any:
    """`value` as `field` holds it: an int, float, bool, text, or the number of an enum's name.

    Raises BadValueError for a wrong type, an unknown choice or a number out of range.
    """
    kind = field.cpp_type
    if kind in _RANGES:
        return _whole(field, value)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        if isinstance(value, bool):
            return value
        raise _wrong(field, value, "`true` or `false`")
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return _choice(field, value)
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return _text(field, value)
    return _number(field, value)


def map_key(field: FieldDescriptor, key: Any) -> Any:
    """The key of a map; a whole number may be written as text, because keys of YAML are text here."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _text(field, key)
    if isinstance(key, str):
        if not (key.isascii() and key.isdigit()) or str(int(key)) != key:
            raise BadValueError(codes.BAD_KEY, f"the key `{key}` is no whole number", "keys here are 1, 2, 3, …")
        key = int(key)
    return _whole(field, key)


def _wrong(field: FieldDescriptor, value: Any, valid: str, hint: str = "") -> BadValueError:
    return BadValueError(codes.WRONG_TYPE, f"`{field.name}` is {valid}; found {describe(value)}", hint)


def _whole(field: FieldDescriptor, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        digits = isinstance(value, str) and value.lstrip("-").isdigit()
        raise _wrong(field, value, "a whole number", "write it without quotes" if digits else "")
    low, high = _RANGES.get(field.cpp_type, (-(2**31), 2**31 - 1))  # numbers of enums have 32 bits
    if not low <= value <= high:
        raise BadValueError(
            codes.OUT_OF_RANGE, f"`{field.name}` is {low} to {high}; found {value}", "use a number in that range"
        )
    return value


def _number(field: FieldDescriptor, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(field, value, "a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    finite = not isinstance(value, float) or math.isfinite(value)
    largest = _FLOAT_MAX if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT else 1.7976931348623157e308
    if finite and abs(number) > largest:
        raise BadValueError(codes.OUT_OF_RANGE, f"`{field.name}` is at most {largest:.6g}; found {value}")
    return number


def _text(field: FieldDescriptor, value: Any) -> str:
    if not isinstance(value, str):
        hint = "put it in quotes" if isinstance(value, int | float) else ""
        raise _wrong(field, value, "text", hint)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadValueError(codes.WRONG_TYPE, f"`{field.name}` holds half a Unicode character") from error
    return value


def _choice(field: FieldDescriptor, value: Any) -> int:
    known = choices(field)
    if isinstance(value, str) and value in known:
        return known[value]
    if isinstance(value, int) and not isinstance(value, bool) and value not in known.values():
        return _whole(field, value)  # one that a later server may have a name for
    if not isinstance(value, str):
        raise _wrong(field, value, f"one of {names(known)}")
    short = [name for name in known if name.endswith("_" + value.upper())]
    raise BadValueError(
        codes.NOT_A_CHOICE,
        f"`{field.name}` is one of {names(known)}; found `{value}`",
        f"did you mean `{short[0]}`?" if short else did_you_mean(value.upper(), known),
    )
