"""Small questions to a protobuf descriptor."""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor


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


def choices(field: FieldDescriptor) -> dict[str, int]:
    """The names of an enum field's values and their numbers. Raises TypeError for any other field."""
    if field.enum_type is None:
        raise TypeError(f"{field.full_name} is no enum")
    return {value.name: value.number for value in field.enum_type.values}
