from __future__ import annotations

import cv2
import numpy as np
import pytest

from tritonkit_runtime.batch import Batch
from tritonkit_runtime.steps.base import Images
from tritonkit_runtime.steps.resize import METHODS, Resize

RANDOM = np.random.default_rng(1)


def image(height: int, width: int, channels: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_unequal_size_become_one_array(method: str, channels: int) -> None:
    images = [image(20, 31, channels), image(5, 4, channels), None, image(12, 7, channels)]
    found = Resize(size=[12, 7], method=method)(Batch({}, (4,)), Images(images, channels))
    assert found.shape == (4, 12, 7, channels)
    assert found.dtype == np.uint8
    for row, source in zip(found, images, strict=True):
        if source is None:
            assert not row.any()
        else:
            expected = cv2.resize(source, (7, 12), interpolation=METHODS[method]).reshape(row.shape)
            np.testing.assert_array_equal(row, expected)


def test_an_array_of_images() -> None:
    images = np.stack([image(10, 10, 3), image(10, 10, 3)])
    found = Resize(size=[4, 6], method="area")(Batch({}, (2,)), images)
    np.testing.assert_array_equal(found[1], cv2.resize(images[1], (6, 4), interpolation=cv2.INTER_AREA))


def test_nothing_happens_to_an_array_of_that_size() -> None:
    images = np.stack([image(4, 6, 3)])
    assert Resize(size=[4, 6], method="area")(Batch({}, (1,)), images) is images


@pytest.mark.parametrize("value", [np.zeros((1, 4, 4, 1), np.float32), np.zeros((4, 4, 1), np.uint8)])
def test_other_arrays_are_refused(value: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"takes UINT8 \[N, H, W, C\], found"):
        Resize(size=[4, 4], method="area")(Batch({}, (len(value),)), value)


def test_parameters_are_checked() -> None:
    with pytest.raises(ValueError, match=r"size is \[8, 0\]; it must be \[height, width\]"):
        Resize(size=[8, 0], method="linear")
    with pytest.raises(ValueError, match="method is 'best'; valid are linear, area, cubic, nearest"):
        Resize(size=[8, 8], method="best")
