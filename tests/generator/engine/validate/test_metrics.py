"""Top-1, F1 and cosine, and how sure they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from generator.engine.errors import StageError
from generator.engine.validate.compare import compare
from generator.engine.validate.intervals import resampled_f1, wilson
from generator.engine.validate.metrics import Boxes, overlaps, score_cosine, score_f1, score_top1
from generator.gate_set import top1


@given(st.integers(1, 5000), st.data())
def test_wilson_is_that_of_scipy(total: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, total))
    expected = binomtest(right, total).proportion_ci(0.95, method="wilson")
    assert wilson(right, total) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_of_nothing_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.booleans()), min_size=1, max_size=30))
def test_top1_counts_as_the_gate_set_does(rows: list[tuple[int, int, bool]]) -> None:
    answers = [None if gone else np.array([str(found), "x"], dtype=object) for found, _, gone in rows]
    labels = np.array([label for _, label, _ in rows])
    score = score_top1(answers, labels)
    assert score.value == top1(answers, labels)
    assert score.right.tolist() == [found == label and not gone for found, label, gone in rows]
    assert sum(right for right, _ in score.by_class.values()) == score.right.sum()
    assert sum(total for _, total in score.by_class.values()) == score.labels == len(rows)
    assert score.interval[0] <= score.value <= score.interval[1]


def test_several_labels_an_item() -> None:
    answers = [np.array([[b"1", b"7"], [b"2", b"7"]], dtype=object), None]
    score = score_top1(answers, np.array([[1, 3], [1, 10]]))
    assert (score.value, score.labels, score.right.tolist()) == (0.25, 4, [False, False])
    assert list(score.by_class.items()) == [("1", (1, 2)), ("3", (0, 1)), ("10", (0, 1))]


def test_another_number_of_labels_than_answers() -> None:
    with pytest.raises(StageError, match="item 0 of the gate set has 2 labels, and its answer 1 first places"):
        score_top1([np.array(["a", "b"], dtype=object)], np.array([["a", "b"]]))


BOX = [10.0, 10.0, 20.0, 20.0]


def boxes(*rows: tuple[list[float], str, float], count: int | None = None) -> Boxes:
    return Boxes(
        np.array([row[0] for row in rows]).reshape(-1, 4), [row[1] for row in rows],
        np.array([row[2] for row in rows]), count,
    )  # fmt: skip


def test_overlap_of_known_boxes() -> None:
    half = [10.0, 10.0, 20.0, 15.0]
    assert overlaps(np.array([BOX]), np.array([BOX, half, [20.0, 20, 30, 30], [5.0, 5, 5, 5]])) == pytest.approx(
        np.array([[1, 0.5, 0, 0]])
    )


@pytest.mark.parametrize(
    ("answer", "hits", "false", "missed"),
    [
        (boxes((BOX, "a", 0.9)), 1, 0, 0),
        (boxes(([10, 10, 20, 15], "a", 0.9)), 1, 0, 0),
        (boxes(([10, 10, 20, 14.9], "a", 0.9)), 0, 1, 1),
        (boxes((BOX, "b", 0.9)), 0, 1, 1),
        (boxes((BOX, "a", 0.5), (BOX, "a", 0.9)), 1, 1, 0),
        (boxes((BOX, "a", 0.9), (BOX, "a", 0.0), count=1), 1, 0, 0),
        (boxes((BOX, "a", 0.9), count=0), 0, 0, 1),
        (boxes(), 0, 0, 1),
        (None, 0, 0, 1),
    ],
)
def test_f1_of_one_box(answer: Boxes | None, hits: int, false: int, missed: int) -> None:
    score = score_f1([answer], [boxes((BOX, "a", 0.0))])
    assert score.value == 2 * hits / (2 * hits + false + missed)
    assert score.right.tolist() == [not false and not missed]
    assert score.by_class == {"a": (hits, 1)}


def test_the_better_score_takes_the_box_and_leaves_the_rest() -> None:
    near = [12.0, 10.0, 22.0, 20.0]
    truth = boxes((BOX, "a", 0.0), (near, "a", 0.0))
    assert score_f1([boxes((near, "a", 0.9), (BOX, "a", 0.8))], [truth]).value == 1
    assert score_f1([boxes((near, "a", 0.8), (BOX, "a", 0.9))], [truth]).value == 1


def test_f1_of_nothing_to_find() -> None:
    score = score_f1([boxes()], [boxes()])
    assert (score.value, score.right.tolist()) == (1.0, [True])


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=20))
def test_f1_lies_in_its_interval_or_near_it(rows: list[tuple[int, int, int]]) -> None:
    low, high = resampled_f1(np.array(rows))
    assert 0 <= low <= high <= 1
    assert (low, high) == resampled_f1(np.array(rows))


def test_cosine_names_the_items_that_miss_it() -> None:
    reference = np.eye(3)
    candidate = reference + np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.01, 0]])
    score = score_cosine(compare([{"y": reference}], [{"y": candidate}]), 0.99)
    assert score.value == pytest.approx(1 / np.hypot(1, 0.5))
    assert score.right.tolist() == [True, False, True]
    assert score.interval == wilson(2, 3)


def test_cosine_needs_floats() -> None:
    with pytest.raises(ValueError, match="float"):
        score_cosine(compare([{"y": np.arange(3)}], [{"y": np.arange(3)}]), 0.99)
