"""Small questions to a protobuf descriptor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor


@dataclass(frozen=True, eq=False, slots=True)
class Field:
    """What printing, merging and checking ask of a field for every value: a descriptor answers anew each time.

    `index` counts in the order of the message's declaration. `key` and `value` are those of a map, else None;
    `oneof` has the names of all members of the field's oneof, itself among them; `choices` the names of an
    enum's numbers.
    """

    name: str
    index: int
    is_repeated: bool
    is_message: bool
    key: Field | None
    value: Field | None
    oneof: tuple[str, ...]
    choices: dict[int, str]
    descriptor: FieldDescriptor


@cache
def fields_of(message: Descriptor) -> dict[str, Field]:
    """The fields of a message by name, in the order of their declaration."""
    return {field.name: _field(field) for field in message.fields}


def set_fields(message: Any) -> list[tuple[Field, Any]]:
    """The fields of a message that are set, and their values, in the order of their numbers."""
    known = fields_of(message.DESCRIPTOR)
    return [(known[field.name], value) for field, value in message.ListFields()]


def _field(field: FieldDescriptor) -> Field:
    key, value = map(_field, map_fields(field)) if is_map(field) else (None, None)
    oneof = field.containing_oneof
    return Field(
        field.name, field.index, field.is_repeated, field.message_type is not None, key, value,
        () if oneof is None else tuple(member.name for member in oneof.fields),
        {} if field.enum_type is None else {n: v.name for n, v in field.enum_type.values_by_number.items()}, field,
    )  # fmt: skip


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map (in the descriptor: a repeated message with key and value)."""
    entry = field.message_type
    return entry is not None and bool(entry.GetOptions().map_entry)


def map_fields(field: FieldDescriptor) -> tuple[FieldDescriptor, FieldDescriptor]:
    """Key and value of a map. Raises TypeError for any other field."""
    entry = field.message_type
    if entry is None:
        raise TypeError(f"{field.full_name} is no map")
    return entry.fields_by_name["key"], entry.fields_by_name["value"]


@cache
def choices(field: FieldDescriptor) -> dict[str, int]:
    """The names of an enum field's values and their numbers. Raises TypeError for any other field."""
    if field.enum_type is None:
        raise TypeError(f"{field.full_name} is no enum")
    return {value.name: value.number for value in field.enum_type.values}
