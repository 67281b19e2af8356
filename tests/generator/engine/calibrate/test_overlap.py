"""Items of two sets that are the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.engine.calibrate import overlap, overlap_finding


def test_shared_items_are_found_wherever_they_stand() -> None:
    rng = np.random.default_rng(3)
    items = [{"image": rng.integers(0, 255, (4, 4), np.uint8), "id": np.array([i])} for i in range(6)]
    gate = [{"id": items[4]["id"].copy(), "image": np.asfortranarray(items[4]["image"])}, items[1]]
    assert overlap(items, gate) == [1, 4]
    assert overlap(items, []) == []
    assert overlap([], gate) == []


@pytest.mark.parametrize(
    "other",
    [
        {"x": np.zeros((2, 3), np.float32)},  # another shape
        {"x": np.zeros((3, 2), np.int32)},  # the same bytes, another type
        {"y": np.zeros((3, 2), np.float32)},  # another name
        {"x": np.zeros((3, 2), np.float32), "n": np.zeros(1)},  # one input more
        {"x": np.zeros((3, 2), np.float32).tobytes()},
    ],
)
def test_equal_bytes_are_not_enough(other: dict[str, object]) -> None:
    assert overlap([{"x": np.zeros((3, 2), np.float32)}], [other]) == []


def test_the_byte_order_of_the_machine_that_wrote_it_does_not_matter() -> None:
    values = np.arange(4, dtype="<f4")
    assert overlap([{"x": values}], [{"x": values.astype(">f4")}]) == [0]


@given(st.lists(st.binary(max_size=3), max_size=4), st.lists(st.binary(max_size=3), max_size=4))
def test_text_is_compared_by_its_parts(one: list[bytes], other: list[bytes]) -> None:
    given_one, given_other = ({"text": np.array([*parts, None], object)[:-1]} for parts in (one, other))
    assert (overlap([given_one], [given_other]) == [0]) == (one == other)


def test_encoded_bytes() -> None:
    assert overlap([{"image": b"png"}, {"image": b"jpg"}], [{"image": b"jpg"}]) == [1]


def test_what_is_said() -> None:
    finding = overlap_finding(list(range(3, 12)), 500)
    assert finding.code == "TK949"
    assert "9 of 500" in finding.message
    assert "3, 4, 5, 6, 7, …" in finding.message
