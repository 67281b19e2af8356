"""A ModelConfig message as plain data in Triton's own words: what `config:` of a spec takes."""

from __future__ import annotations

import struct
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from generator.config.descriptors import Field, set_fields


def words_of(message: Any) -> dict[str, Any]:
    """Every field that is set, empty messages and members of a oneof among them, in the order of declaration.

    Merged into an empty message (generator.config.extra) they give an equal one.
    """
    ordered = sorted(set_fields(message), key=lambda found: found[0].index)
    return {field.name: _value(field, value) for field, value in ordered}


def _value(field: Field, value: Any) -> Any:
    if field.key is not None:
        assert field.value is not None  # noqa: S101  (of a map)
        inner = field.value
        return {str(key): _single(inner, value[key]) for key in sorted(value)}
    if field.is_repeated:
        return [_single(field, item) for item in value]
    return _single(field, value)


def _single(field: Field, value: Any) -> Any:
    if field.is_message:
        if value.DESCRIPTOR.full_name == "inference.ModelParameter":
            return value.string_value  # `{x: "y"}` is short for `{x: {string_value: "y"}}`
        return words_of(value)
    if field.choices:
        return field.choices.get(value, value)  # a number without a name stands for itself
    if field.descriptor.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        return _short(value)
    return value


def _short(value: float) -> float:
    """The shortest number that is the same in 32 bits: 0.1 for 0.10000000149011612."""
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.pack("f", short) == struct.pack("f", value):
                return short
        except OverflowError:  # rounded up beyond the largest
            continue
    return value
