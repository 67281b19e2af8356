"""A ModelConfig's fields as lines of protobuf text, the way Triton's own examples are written."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import text_format

from generator.config.descriptors import Field, fields_of, set_fields

_INDENT = "  "
_WIDTH = 100
_ALWAYS = "max_batch_size"  # 0 says a lot: no batch axis
# Text that stands in quotes as it is. All else is escaped by protobuf, which takes ten times as long.
_PLAIN = re.compile(r"[A-Za-z0-9_ ./:,-]*")


class Printer:
    """Prints the fields of one message. `comments` are by path: `dynamic_batching`, `input[0]`, `parameters[x]`.

    The order is the one of the descriptor, maps are sorted by key: equal messages give equal text.
    """

    def __init__(self, message: Any, comments: Mapping[str, str]) -> None:
        self._fields = {field.name: (field, value) for field, value in _in_order(message)}
        if _ALWAYS not in self._fields:
            self._fields[_ALWAYS] = (fields_of(message.DESCRIPTOR)[_ALWAYS], getattr(message, _ALWAYS))
        self._comments = comments
        # Every path that has a comment somewhere below it.
        self._above_comments = {path[:end] for path in comments for end, c in enumerate(path) if c in ".["}

    def names(self) -> list[str]:
        """The names of the fields that have lines."""
        return list(self._fields)

    def field(self, name: str) -> list[str]:
        """The lines of one field of the message; none where it is not set."""
        if name not in self._fields:
            return []
        return [*self._above(name, ""), *self._field(*self._fields[name], name, "")]

    def _field(self, field: Field, value: Any, path: str, indent: str) -> list[str]:
        if field.key is not None:
            keys = sorted(value)
            return [line for key in keys for line in self._entry(field, key, value[key], f"{path}[{key}]", indent)]
        if not field.is_message:
            return [f"{indent}{_simple(field, value)}"]
        if not field.is_repeated:
            return self._block(f"{field.name} ", value, path, indent)
        lines = [f"{indent}{field.name} ["]
        for index, item in enumerate(value):
            here = f"{path}[{index}]"
            block = self._block("", item, here, indent + _INDENT)
            if index < len(value) - 1:
                block[-1] += ","
            lines += [*self._above(here, indent + _INDENT), *block]
        return [*lines, f"{indent}]"]

    def _entry(self, field: Field, key: Any, value: Any, path: str, indent: str) -> list[str]:
        """One entry of a map: a line where it fits."""
        assert field.key is not None and field.value is not None  # noqa: S101,PT018  (of a map)
        shown_key = _scalar(field.key, key)
        if not field.value.is_message:
            shown = f": {_scalar(field.value, value)}"
        else:
            inline = _inline(set_fields(value))
            shown = "" if inline is None else f" {inline}"
        line = f"{indent}{field.name} {{ key: {shown_key} value{shown} }}"
        if shown and (len(line) <= _WIDTH or not field.value.is_message):
            return [line + self._behind(path)]
        inner = self._block("value ", value, path, indent + _INDENT)
        head = [f"{indent}{field.name} {{", f"{indent}{_INDENT}key: {shown_key}"]
        return [*self._above(path, indent), *head, *inner, f"{indent}}}"]

    def _block(self, head: str, message: Any, path: str, indent: str) -> list[str]:
        fields = _in_order(message)
        inline = None if path in self._above_comments else _inline(fields)
        if inline is not None and len(indent + head + inline) <= _WIDTH:
            return [f"{indent}{head}{inline}"]
        lines = [f"{indent}{head}{{"]
        for field, value in fields:
            here = f"{path}.{field.name}"
            lines += [*self._above(here, indent + _INDENT), *self._field(field, value, here, indent + _INDENT)]
        return [*lines, f"{indent}}}"]

    def _above(self, path: str, indent: str) -> list[str]:
        text = self._comments.get(path)
        return [] if text is None else [f"{indent}{line}" for line in comment_lines(text)]

    def _behind(self, path: str) -> str:
        text = self._comments.get(path)
        return "" if text is None else "  " + " ".join(comment_lines(text))


def comment_lines(text: str) -> list[str]:
    """`# …`, a line for each of `text`; what cannot stand in a comment becomes a space."""
    return ["# " + _printable(line) for line in text.split("\n")]


def _printable(line: str) -> str:
    return line if line.isprintable() else "".join(c if c.isprintable() else " " for c in line)


def _in_order(message: Any) -> list[tuple[Field, Any]]:
    """The fields that are set, in the order of their declaration."""
    return sorted(set_fields(message), key=lambda found: found[0].index)


def _simple(field: Field, value: Any) -> str:
    """`name: value` of a scalar, `name: [ value, value ]` of a list of them."""
    if field.is_repeated:
        return f"{field.name}: [ {', '.join([_scalar(field, item) for item in value])} ]"
    return f"{field.name}: {_scalar(field, value)}"


def _scalar(field: Field, value: Any) -> str:
    """As protobuf prints it; what takes no thought is not asked of protobuf."""
    kind = type(value)
    if kind is str and _PLAIN.fullmatch(value):
        return f'"{value}"'
    if kind is int:
        return field.choices.get(value) or str(value)
    out = io.StringIO()
    text_format.PrintFieldValue(field.descriptor, value, out, as_utf8=True)
    return out.getvalue()


def _inline(fields: list[tuple[Field, Any]]) -> str | None:
    """`{ }` or `{ name: value }` for a message with one simple field; None for any other."""
    if not fields:
        return "{ }"
    [field, value], *others = fields
    if others or field.key is not None:
        return None
    if field.is_message:
        inner = None if field.is_repeated else _inline(set_fields(value))
        return None if inner is None else f"{{ {field.name} {inner} }}"
    return f"{{ {_simple(field, value)} }}"
