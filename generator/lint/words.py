"""What a configuration's numbers stand for: names of enums, sizes of elements, and how many elements dims hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from generator.elements import ELEMENT_BYTES

_UNSIZED_BYTES = 4  # what the server counts for an element of text, or of a type that it does not know
MOST_ITEMS = 2**63 - 1


def enum_name(message: Any, field: str) -> str:
    """The name of an enum's value; its number where that stands for none, which the server reads like any other."""
    number = getattr(message, field)
    known = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(number)
    return str(number) if known is None else str(known.name)


def type_name(message: Any) -> str:
    """The `data_type` without `TYPE_`: `FP32`, `INVALID` where none is given, or a number that stands for none."""
    return enum_name(message, "data_type").removeprefix("TYPE_")


def is_type(name: str) -> bool:
    """Whether what `type_name` gives is a type at all."""
    return name != "INVALID" and not name.lstrip("-").isdigit()


def element_bytes(name: str) -> int:
    """The size of an element of a type as the server counts it where it makes the data itself."""
    return ELEMENT_BYTES.get(name, _UNSIZED_BYTES)


def in_64_bits(number: int) -> int:
    """A number as the server keeps it in 64 bits with a sign: too large a one overflows."""
    return (number + 2**63) % 2**64 - 2**63


def counted_items(dims: Iterable[int]) -> int:
    """How many elements the server takes data of these dims for: 0 without dims; the product overflows at 64 bits."""
    product, is_empty = 1, True
    for dim in dims:
        product, is_empty = in_64_bits(product * dim), False
    return 0 if is_empty else product


def item_count(dims: Iterable[int]) -> int:
    """How many elements data of these dims has, each of them 1 or more; at most `MOST_ITEMS`."""
    product = 1
    for dim in dims:
        product = min(product * dim, MOST_ITEMS)
    return product
