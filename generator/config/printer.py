"""A ModelConfig's fields as lines of protobuf text, the way Triton's own examples are written."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor

from generator.config.descriptors import is_map, map_fields

_INDENT = "  "
_WIDTH = 100


class Printer:
    """Prints fields of messages. `comments` are by path: `dynamic_batching`, `input[0]`, `parameters[x]`.

    The order is the one of the descriptor, maps are sorted by key: equal messages give equal text.
    """

    def __init__(self, comments: Mapping[str, str]) -> None:
        self._comments = comments

    def field(self, message: Any, name: str) -> list[str]:
        """The lines of one field of the whole config; none where it is not set."""
        field = message.DESCRIPTOR.fields_by_name[name]
        if not _is_set(message, field):
            return []
        return [*self._above(name, ""), *self._field(message, field, name, "")]

    def _field(self, message: Any, field: FieldDescriptor, path: str, indent: str) -> list[str]:
        value = getattr(message, field.name)
        if is_map(field):
            keys = sorted(value)
            return [line for key in keys for line in self._entry(field, key, value[key], f"{path}[{key}]", indent)]
        if not field.is_repeated and field.message_type is None:
            return [f"{indent}{field.name}: {_scalar(field, value)}"]
        if field.message_type is None:
            return [f"{indent}{field.name}: [ {', '.join(_scalar(field, item) for item in value)} ]"]
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

    def _entry(self, field: FieldDescriptor, key: Any, value: Any, path: str, indent: str) -> list[str]:
        """One entry of a map: a line where it fits."""
        key_field, value_field = map_fields(field)
        shown_key = _scalar(key_field, key)
        if value_field.message_type is None:
            shown = f": {_scalar(value_field, value)}"
        else:
            inline = _inline(value)
            shown = "" if inline is None else f" {inline}"
        line = f"{indent}{field.name} {{ key: {shown_key} value{shown} }}"
        if shown and (len(line) <= _WIDTH or value_field.message_type is None):
            return [line + self._behind(path)]
        inner = self._block("value ", value, path, indent + _INDENT)
        head = [f"{indent}{field.name} {{", f"{indent}{_INDENT}key: {shown_key}"]
        return [*self._above(path, indent), *head, *inner, f"{indent}}}"]

    def _block(self, head: str, message: Any, path: str, indent: str) -> list[str]:
        commented = any(key.startswith((path + ".", path + "[")) for key in self._comments)
        inline = None if commented else _inline(message)
        if inline is not None and len(indent + head + inline) <= _WIDTH:
            return [f"{indent}{head}{inline}"]
        lines = [f"{indent}{head}{{"]
        for field in message.DESCRIPTOR.fields:
            if _is_set(message, field):
                here = f"{path}.{field.name}"
                lines += [*self._above(here, indent + _INDENT), *self._field(message, field, here, indent + _INDENT)]
        return [*lines, f"{indent}}}"]

    def _above(self, path: str, indent: str) -> list[str]:
        text = self._comments.get(path)
        return [] if text is None else [f"{indent}{line}" for line in comment_lines(text)]

    def _behind(self, path: str) -> str:
        text = self._comments.get(path)
        return "" if text is None else "  " + " ".join(comment_lines(text))


def comment_lines(text: str) -> list[str]:
    """`# …`, a line for each of `text`; what cannot stand in a comment becomes a space."""
    return ["# " + "".join(c if c.isprintable() else " " for c in line) for line in text.split("\n")]


def _is_set(message: Any, field: FieldDescriptor) -> bool:
    if field.name == "max_batch_size":
        return True  # 0 says a lot: no batch axis
    return any(known.name == field.name for known, _ in message.ListFields())


def _scalar(field: FieldDescriptor, value: Any) -> str:
    out = io.StringIO()
    text_format.PrintFieldValue(field, value, out, as_utf8=True)
    return out.getvalue()


def _inline(message: Any) -> str | None:
    """`{ }` or `{ name: value }` for a message with one simple field; None for any other."""
    fields: Iterable[tuple[FieldDescriptor, Any]] = message.ListFields()
    found = list(fields)
    if not found:
        return "{ }"
    field, value = found[0]
    if len(found) > 1 or is_map(field):
        return None
    if field.message_type is not None:
        inner = None if field.is_repeated else _inline(value)
        return None if inner is None else f"{{ {field.name} {inner} }}"
    if field.is_repeated:
        return f"{{ {field.name}: [ {', '.join(_scalar(field, item) for item in value)} ] }}"
    return f"{{ {field.name}: {_scalar(field, value)} }}"
