"""JSON as people like to read it: a field a line, and a list of numbers in one line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_SIMPLE = {str, int, float, bool, type(None)}
_one = json.JSONEncoder(ensure_ascii=False).encode


def pretty(value: Any, indent: str = "") -> str:
    """The JSON text of plain data whose keys are text, two blanks a level; `indent` is of the line it begins in.

    What has no containers in it is left to the json module, whose encoder in C knows no indentation.
    """
    if not value or not isinstance(value, dict | list | tuple):
        return _one(value)
    is_mapping = isinstance(value, dict)
    items = value.values() if isinstance(value, dict) else value
    kinds = set(map(type, items))
    if not is_mapping and kinds <= {int, float} and all(map(math.isfinite, items)):
        return _one(value)
    inner = indent + "  "
    start, end = "{}" if is_mapping else "[]"
    if kinds <= _SIMPLE:
        text = _in_lines(inner)(value)[1:-1]
    elif isinstance(value, dict):
        text = f",\n{inner}".join([f"{_one(key)}: {pretty(item, inner)}" for key, item in value.items()])
    else:
        text = f",\n{inner}".join([pretty(item, inner) for item in value])
    return f"{start}\n{inner}{text}\n{indent}{end}"


@lru_cache(maxsize=64)
def _in_lines(indent: str) -> Callable[[Any], str]:
    """Encodes a container of simple values with each of them, but the first, in a line of its own."""
    return json.JSONEncoder(ensure_ascii=False, separators=(f",\n{indent}", ": ")).encode
