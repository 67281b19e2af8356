"""What numbers of a configuration stand for, also those that stand for nothing."""

from __future__ import annotations

import pytest

from generator.config.messages import ModelConfig
from generator.elements import ELEMENT_BYTES
from generator.lint.words import MOST_ITEMS, counted_items, element_bytes, enum_name, is_type, item_count, type_name


@pytest.mark.parametrize(
    ("number", "name", "is_known"), [(11, "FP32", True), (13, "STRING", True), (0, "INVALID", False), (99, "99", False), (-1, "-1", False)]
)  # fmt: skip
def test_a_type_has_a_name_or_its_number(number: int, name: str, is_known: bool) -> None:
    tensor = ModelConfig().input.add()
    tensor.data_type = number  # type: ignore[assignment]
    assert (type_name(tensor), is_type(type_name(tensor))) == (name, is_known)
    assert enum_name(tensor, "data_type") == (name if name.lstrip("-").isdigit() else f"TYPE_{name}")


def test_every_type_has_a_size_or_counts_four() -> None:
    names = [
        value.name.removeprefix("TYPE_")
        for value in ModelConfig.DESCRIPTOR.file.enum_types_by_name["DataType"].values
    ]
    assert set(names) - set(ELEMENT_BYTES) == {"INVALID", "STRING"}
    assert {name: element_bytes(name) for name in ("INVALID", "STRING", "99", "BF16", "INT64")} == {
        "INVALID": 4, "STRING": 4, "99": 4, "BF16": 2, "INT64": 8,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("dims", "counted", "real"),
    [
        ([], 0, 1), ([3, 4], 12, 12), ([2**63 - 1, 2], -2, MOST_ITEMS), ([2**32, 2**32], 0, MOST_ITEMS),
        ([6148914691236517206, 6], 4, MOST_ITEMS), ([2**63 - 1] * 300, 1, MOST_ITEMS), ([2**62, 2], -(2**63), MOST_ITEMS),
    ],
)  # fmt: skip
def test_elements_are_counted_as_the_server_does_and_as_they_are(dims: list[int], counted: int, real: int) -> None:
    assert (counted_items(dims), item_count(dims)) == (counted, real)
