"""What instances hand over lies where the table says, and nothing else is taken out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tritonkit_runtime.batch import Array
from tritonkit_runtime.parameters import Limits, StepSpec, TensorSpec
from tritonkit_runtime.preprocess.packing import item_bytes, rounded
from tritonkit_runtime.preprocess.parcel import ITEM, Parcel, parcel_bytes, unpacked
from tritonkit_runtime.preprocess.recipe import Recipe, read
from tritonkit_runtime.steps.image_file import Header

MOST, PIXELS = 4, 300
BEFORE = 128  # bytes of other things in the memory


def recipe() -> Recipe:
    specs = [StepSpec("resize", {"size": [6, 10], "method": "linear"})]
    return read(specs, TensorSpec("x", "UINT8", (-1, -1, 3)), Limits())


SHAPE = recipe().item_shape


class Memory:
    """As an instance has it."""

    def __init__(self) -> None:
        self.whole: Array = np.zeros(BEFORE + parcel_bytes(SHAPE, MOST, PIXELS), np.uint8)
        self.base = self.whole.ctypes.data
        self.parcel = Parcel(self.base + BEFORE, self.base, MOST, recipe(), PIXELS)

    @property
    def table(self) -> Any:
        return self.whole[BEFORE : BEFORE + MOST * ITEM.itemsize].view(ITEM)

    def unpacked(self, items: int, offset: int = BEFORE) -> Any:
        return unpacked((self.base, len(self.whole)), offset, items, SHAPE, PIXELS)


def image(height: int, width: int, value: int = 7) -> Array:
    return np.full((height, width, 3), value, np.uint8)


def pixels(memory: Memory, item: Any) -> Array:
    begin = item.address - memory.base
    return memory.whole[begin : begin + item.size_bytes].reshape(item.height, item.width, 3)


def test_files_and_pixels_come_out_as_they_went_in() -> None:
    memory = Memory()
    for turn in range(3):
        memory.parcel.clear(3)
        assert memory.parcel.add_file(Header(20, 15, data=b"file" * turn + b"."), 6, 2)
        memory.parcel.add(image(4, 5, turn), 1)
        assert memory.parcel.add_file(Header(2, 150, data=b"other"), 1, 0)
        first, second, third = memory.unpacked(3)
        assert (first.data, first.width, first.height, first.orientation) == (b"file" * turn + b".", 20, 15, 6)
        assert (third.data, third.width, third.height, third.orientation) == (b"other", 2, 150, 1)
        assert (second.orientation, second.data) == (0, b"")
        np.testing.assert_array_equal(pixels(memory, second), image(4, 5, turn))
    memory.parcel._table[...] = 0
    assert first.data, "files are copies"


def test_an_image_without_room_is_resized_and_a_file_stays_out() -> None:
    memory = Memory()
    memory.parcel.clear(2)
    assert not memory.parcel.add_file(Header(1, 1, data=bytes(2 * item_bytes(SHAPE, PIXELS))), 1, 1)
    memory.parcel.add(image(15, 20), 1)  # which takes its own share
    memory.parcel.add(image(100, 200), 0)
    whole, shrunk = memory.unpacked(2)
    assert (whole.height, whole.width) == (15, 20)
    assert (shrunk.height, shrunk.width) == (6, 10)
    np.testing.assert_array_equal(pixels(memory, shrunk), image(6, 10))


def test_a_batch_has_room_for_its_own_items_alone() -> None:
    """Else batches of several instances would find none where they are put together."""
    for items in range(1, MOST + 1):
        memory = Memory()
        memory.parcel.clear(items)
        for left in reversed(range(items)):
            memory.parcel.add(image(40, 50), left)
        found = memory.unpacked(items)
        assert sum(rounded(item.size_bytes) for item in found) <= items * item_bytes(SHAPE, PIXELS)
        assert sum((item.height, item.width) == (6, 10) for item in found) == items, "of all too large ones"


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ((1 << 40, 10, 2, 5, 1), "10 bytes at 1099511627776 are not in"),
        ((200, 0, 2, 5, 1), "0 bytes at 200 are not in"),
        ((200, 1 << 62, 2, 5, 1), "are not in"),
        ((200, 30, 0, 5, 0), "no image has 5x0 pixels"),
        ((200, 30, 2, -5, 0), "no image has -5x2 pixels"),
        ((200, 30, 2, 5, 9), "the orientation 9"),
        ((200, 31, 2, 5, 0), "31 bytes for 5x2 pixels of 3 channels"),
        ((200, 30, 2, 500, 1), "a file of 500x2 pixels, more than the limit of 300"),
    ],
)
def test_what_is_none_of_ours_is_refused(row: tuple[int, ...], sentence: str) -> None:
    memory = Memory()
    memory.table[0] = row
    with pytest.raises(ValueError, match=sentence):
        memory.unpacked(1)


def test_a_table_outside_the_memory_and_more_than_there_is_room_for() -> None:
    memory = Memory()
    for offset in (len(memory.whole) - 8, BEFORE + 4):
        with pytest.raises(ValueError, match=f"a table of 1 images at {offset} is not in"):
            memory.unpacked(1, offset)
    pixels, file = (0, 20 * 40 * 3, 20, 40, 0), (0, 20 * 40 * 3, 2, 4, 1)
    for rows in ((pixels, pixels), (file, file), (file, pixels)):
        memory.table[:2] = np.array([*rows], ITEM)
        with pytest.raises(ValueError, match="bytes of files and pixels, more than 2 images have room for"):
            memory.unpacked(2)
