"""Values as YAML, each with a comment above it that says where it comes from."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WIDTH, _LONGEST = 110, 200
_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Said:
    """A value and where it comes from. A mapping in it is written in one line, and so is a list that is not long."""

    value: Any
    why: str


Section = Mapping[str, "Said | Section | Sequence[Section]"]


def data_of(section: Section) -> dict[str, Any]:
    """The values alone, as the chart gets them."""
    return {key: _data(entry) for key, entry in section.items()}


def _data(entry: Any) -> Any:
    if isinstance(entry, Said):
        return _plain(entry.value)
    return data_of(entry) if isinstance(entry, Mapping) else [data_of(one) for one in entry]


def text_of(section: Section, header: Sequence[str]) -> str:
    """The whole file."""
    comments = [line for text in header for line in _comment(text, 0)]
    return "\n".join([*comments, *([""] if comments else []), *_lines(section, 0)]) + "\n"


def _lines(section: Section, indent: int) -> Iterator[str]:
    blank = " " * indent
    for number, (key, entry) in enumerate(section.items()):
        if indent == 0 and number:
            yield ""
        if isinstance(entry, Said):
            yield from _comment(entry.why, indent)
            yield from _value(key, _plain(entry.value), blank)
        elif isinstance(entry, Mapping):
            yield f"{blank}{key}:"
            yield from _lines(entry, indent + 2)
        else:
            yield f"{blank}{key}:"
            for one in entry:
                yield from _item(one, indent + 2)


def _value(key: str, value: Any, blank: str) -> Iterator[str]:
    """A value in one line; a list that is too long for one, an item a line."""
    line = f"{blank}{key}: {_flow(value)}"
    if isinstance(value, list) and len(line) > _LONGEST:
        yield f"{blank}{key}:"
        yield from (f"{blank}  - {_flow(item)}" for item in value)
    else:
        yield line


def _item(section: Section, indent: int) -> Iterator[str]:
    """A mapping as an item of a list: the first key's comment stands above the dash."""
    dashed = False
    for line in _lines(section, indent + 2):
        if dashed or line.lstrip().startswith("#"):
            yield line if dashed else line[2:]
            continue
        dashed = True
        yield f"{' ' * indent}- {line.lstrip()}"


def _comment(text: str, indent: int) -> list[str]:
    blank = " " * indent
    return textwrap.wrap(
        " ".join(text.split()), _WIDTH, initial_indent=f"{blank}# ", subsequent_indent=f"{blank}# ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _plain(value: Any) -> Any:
    """Whole numbers without a point, and tuples as lists."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _flow(value: Any) -> str:
    """A value in one line. Texts are quoted as in JSON, which is YAML, so that none is taken for a number."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else json.dumps(key)
