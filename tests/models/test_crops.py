from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.crops import Crops


def cut(canvas: npt.NDArray[Any], boxes: npt.NDArray[Any], **parameters: Any) -> tuple[Any, dict[int, str]]:
    failed: dict[int, str] = {}

    def fail(index: int, message: str) -> None:
        assert index not in failed
        failed[index] = message

    return Crops(parameters).run({"canvas": canvas, "boxes": boxes}, fail)["crops"], failed


def canvases(count: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(4).random((count, 1, 32, 32), np.float32)


@given(st.lists(st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24)), min_size=4, max_size=4), max_size=5))
def test_crops_are_the_canvas_within_the_boxes(corners: list[list[tuple[int, int]]]) -> None:
    canvas = canvases(len(corners))
    start = np.array(corners, np.float32).reshape(-1, 4, 2)
    crops, failed = cut(canvas, np.concatenate([start, start + 8], axis=-1))
    assert (failed, crops.dtype, crops.shape) == ({}, np.float32, (len(corners), 4, 1, 8, 8))
    for item, places in enumerate(corners):
        for number, (x, y) in enumerate(places):
            assert np.array_equal(crops[item, number, 0], canvas[item, 0, y : y + 8, x : x + 8])


@pytest.mark.parametrize(
    "bad",
    [
        (25, 0, 33, 8),
        (0, 25, 8, 33),
        (-1, 0, 7, 8),
        (0, -8, 8, 0),
        (0, 0, 8, 9),
        (0, 0, 7, 8),
        (8, 8, 0, 0),
        (0.5, 0, 8.5, 8),
        (np.nan, 0, 8, 8),
        (np.inf, 0, np.inf, 8),
        (1e30, 0, 1e30, 8),
    ],
)
def test_a_bad_box_fails_its_item_alone(bad: tuple[float, ...]) -> None:
    boxes = np.tile(np.array([8, 16, 16, 24], np.float32), (3, 4, 1))
    boxes[1, 2] = bad
    canvas = canvases(3)
    crops, failed = cut(canvas, boxes)
    assert list(failed) == [1]
    assert failed[1].startswith("box 2 is (")
    assert failed[1].endswith("8 apart, within the canvas of 32 x 32")
    assert crops.shape == (3, 4, 1, 8, 8)
    for item in (0, 2):
        assert np.array_equal(crops[item, 3, 0], canvas[item, 0, 16:24, 8:16])


def test_size_is_a_parameter() -> None:
    canvas = canvases(1)
    crops, failed = cut(canvas, np.array([[[4, 0, 20, 16]]], np.float32), size=16)
    assert failed == {}
    assert np.array_equal(crops[0, 0], canvas[0, :, 0:16, 4:20])


@pytest.mark.parametrize("parameters", [{"side": 8}, {"size": 0}, {"size": "8"}, {"size": True}])
def test_wrong_parameters_say_what_is_valid(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="valid: "):
        Crops(parameters)
