"""What the reader asks of a message type for every field, resolved once: a descriptor answers anew each time."""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

TEXT, INTEGER, REAL, BOOL, ENUM, MESSAGE = "text", "integer", "real", "bool", "enum", "message"

_KINDS = {
    FieldDescriptor.CPPTYPE_STRING: TEXT,
    FieldDescriptor.CPPTYPE_BOOL: BOOL,
    FieldDescriptor.CPPTYPE_ENUM: ENUM,
    FieldDescriptor.CPPTYPE_FLOAT: REAL,
    FieldDescriptor.CPPTYPE_DOUBLE: REAL,
    FieldDescriptor.CPPTYPE_MESSAGE: MESSAGE,
}
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


class Field:
    """A field: its kind, the range of an integer, the choices of an enum, the message of a message or map entry.

    `has_presence` says that its default value counts as given; `oneof` has the other members of its oneof.
    """

    __slots__ = (
        "choices", "default", "has_presence", "high", "is_map", "is_repeated", "is_signed", "kind", "low", "message",
        "name", "oneof",
    )  # fmt: skip

    def __init__(self, field: FieldDescriptor, in_map_entry: bool) -> None:
        self.name = field.name
        self.is_repeated = field.is_repeated
        self.kind = _KINDS.get(field.cpp_type, INTEGER)
        self.low, self.high = _RANGES.get(field.cpp_type, (-(2**31), 2**31 - 1))  # an enum's numbers are int32
        self.is_signed = self.low < 0
        self.choices = {} if field.enum_type is None else {v.name: v.number for v in field.enum_type.values}
        self.message = None if field.message_type is None else schema_of(field.message_type)
        self.is_map = self.message is not None and self.message.is_map_entry
        # The server remembers of a map's entry what was given; Python's text_format takes `key: "" key: "a"`.
        self.has_presence = field.has_presence or in_map_entry
        self.default: Any = {} if self.message else field.default_value
        oneof = field.containing_oneof
        self.oneof = () if oneof is None else tuple(other.name for other in oneof.fields if other is not field)


class Message:
    """A message type and its fields by name."""

    __slots__ = ("fields", "is_map_entry", "name")

    def __init__(self, descriptor: Descriptor) -> None:
        self.name = descriptor.name
        self.is_map_entry = bool(descriptor.GetOptions().map_entry)
        self.fields = {field.name: Field(field, self.is_map_entry) for field in descriptor.fields}


@cache
def schema_of(descriptor: Descriptor) -> Message:
    """The fields of a message type. No message of ModelConfig contains itself."""
    return Message(descriptor)


def owners(message: Message, name: str, above: str = "") -> list[str]:
    """The paths of the messages below `message` that have a field `name`: what a misplaced field is missing."""
    found = []
    for field in message.fields.values():
        if field.message is not None and not field.is_map:
            path = f"{above}{field.name}"
            if name in field.message.fields:
                found.append(path)
            found += owners(field.message, name, f"{path}.")
    return found
