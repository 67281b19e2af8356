"""Class numbers become labels; what has none is one bad item."""

from __future__ import annotations

import numpy as np
import pytest

from tritonkit_runtime.batch import Batch
from tritonkit_runtime.steps.labels import Labels


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8])
def test_the_label_of_each_number(dtype: type) -> None:
    found = Labels(labels=["zero", "ünö", ""])(Batch({}, (2,)), np.array([[[1, 0]], [[2, 1]]], dtype))
    assert found.dtype == object
    assert found.tolist() == [[["ünö".encode(), b"zero"]], [[b"", "ünö".encode()]]]


def test_no_class_is_an_empty_text() -> None:
    batch = Batch({}, (1,))
    assert Labels(labels=["a", "b"])(batch, np.array([[1, -1]])).tolist() == [[b"b", b""]]
    assert batch.failed == {}


def test_an_item_with_a_number_that_has_no_label() -> None:
    batch = Batch({}, (4,))
    found = Labels(labels=["a", "b"])(batch, np.array([[0, 1], [7, 2], [-2, 0], [1, 1]]))
    assert batch.failed == {1: "there is no label 7: there are 2, from 0 on",
                            2: "there is no label -2: there are 2, from 0 on"}  # fmt: skip
    assert found.shape == (4, 2)
    assert found[[0, 3]].tolist() == [[b"a", b"b"], [b"b", b"b"]]


def test_no_items() -> None:
    assert Labels(labels=["a"])(Batch({}, (0,)), np.zeros((0, 3), np.int32)).shape == (0, 3)


@pytest.mark.parametrize("labels", ["ab", [], [1]])
def test_labels_that_are_none(labels: object) -> None:
    with pytest.raises(ValueError, match="must be a list of strings"):
        Labels(labels=labels)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.ones((1, 2), np.float32), np.array([[b"x"]], object)])
def test_other_than_whole_numbers(value: np.ndarray) -> None:
    with pytest.raises(ValueError, match="takes whole numbers"):
        Labels(labels=["a"])(Batch({}, (1,)), value)
