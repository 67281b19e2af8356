from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tritonkit_runtime.batch import Batch
from tritonkit_runtime.steps.scores import Softmax, TopK

BATCH = Batch({}, (2,))


@given(hnp.arrays(np.float32, (3, 2, 5), elements=st.floats(-80, 80, width=32)))
def test_softmax_is_the_formula(value: np.ndarray) -> None:
    before = value.copy()
    exact = np.exp(value.astype(np.float64))
    np.testing.assert_allclose(Softmax()(BATCH, value), exact / exact.sum(-1, keepdims=True), rtol=2e-5, atol=1e-30)
    np.testing.assert_array_equal(value, before)


def test_softmax_of_large_and_infinite_values() -> None:
    np.testing.assert_allclose(Softmax()(BATCH, np.float32([[1e30, 1e30]])), [[0.5, 0.5]])
    np.testing.assert_allclose(Softmax()(BATCH, np.float32([[-np.inf, 0]])), [[0, 1]])
    assert np.isnan(Softmax()(BATCH, np.float32([[np.inf, 0]]))).any()
    assert Softmax()(BATCH, np.float16([[0, 0]])).dtype == np.float32


# Few different values, so that ties within and at the edge of the k best are common.
TIED = st.sampled_from([0.0, -0.0, 1.0, 2.0, -np.inf, np.inf, np.nan])


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 9)), elements=TIED), st.data())
def test_top_k_is_a_stable_descending_sort(value: np.ndarray, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, value.shape[1]))
    found = TopK(k=k)(BATCH, value)
    expected = np.argsort(-value, axis=-1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found["label"], expected)
    np.testing.assert_array_equal(found["score"], np.take_along_axis(value, expected, -1))
    assert (found["label"].dtype, found["score"].dtype) == (np.int64, np.float32)


def test_top_k_of_many_classes() -> None:
    value = np.random.default_rng(0).standard_normal((4, 3, 1000)).astype(np.float32)
    found = TopK(k=5, label_output="class", score_output="p")(BATCH, value)
    np.testing.assert_array_equal(found["class"], np.argsort(-value, axis=-1)[..., :5])
    np.testing.assert_array_equal(found["p"], -np.sort(-value, axis=-1)[..., :5])


def test_labels_are_bytes() -> None:
    found = TopK(k=2, labels=["cat", "hund", "ö"])(BATCH, np.float16([[0, 1, 2], [2, 1, 0]]))
    assert found["label"].tolist() == [["ö".encode(), b"hund"], [b"cat", b"hund"]]
    assert found["label"].dtype == object
    assert found["score"].dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"k": 0}, "k is 0; it must be a whole number of at least 1"),
        ({"k": 3, "labels": ["a", "b"]}, "k is 3, but there are 2 labels"),
        ({"k": 1, "labels": "ab"}, "labels must be a list of strings"),
        ({"k": 1, "label_output": "x", "score_output": "x"}, "label_output and score_output are both 'x'"),
    ],
)
def test_top_k_checks_its_parameters(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TopK(**arguments)


def test_values_that_do_not_suit() -> None:
    with pytest.raises(ValueError, match=r"there are 3 labels, but 4 classes: \[2, 4\]"):
        TopK(k=1, labels=["a", "b", "c"])(BATCH, np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match=r"k is 5, but there are 4 classes: \[2, 4\]"):
        TopK(k=5)(BATCH, np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match=r"takes numbers \[N, ..., classes\], found object"):
        Softmax()(BATCH, np.array([[b"a"]], dtype=object))
    with pytest.raises(ValueError, match=r"found float32 \[2\]"):
        Softmax()(BATCH, np.zeros(2, np.float32))
