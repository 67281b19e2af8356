"""Rows of equal scores may come in any order: that fails no engine, and hides nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from generator.engine.runner import Samples
from generator.engine.validate.compare import compare
from generator.engine.validate.neighbours import TOLERANCES, Neighbours, check_neighbours
from generator.engine.validate.ranked import rankings, ties_in_order

Array = np.ndarray[Any, Any]
Answer = dict[str, Array]
SCORES = [[0.9, 0.7, 0.7, 0.7, 0.2, 0.0], [0.8, 0.8, 0.6, 0.5, 0.0, 0.0]]


def detections() -> Answer:
    """Two items of six rows; three and two of their scores are equal."""
    random = np.random.default_rng(1)
    score = np.array(SCORES, np.float32)
    boxes = random.uniform(0, 48, (2, 6, 4)).astype(np.float32) * (score > 0)[..., None]
    label = np.stack([random.permutation(6), random.permutation(6)]).astype(np.int32)
    return {"boxes": boxes, "label": label, "score": score, "count": (score > 0).sum(axis=1, keepdims=True)}


def in_rows(answer: Answer, rows: list[int]) -> Answer:
    """The first item's rows in another order, with their scores."""
    changed = {name: value.copy() for name, value in answer.items()}
    for name in ("boxes", "label", "score"):
        changed[name][0] = answer[name][0, rows]
    return changed


def test_which_outputs_go_with_which_score() -> None:
    assert rankings([detections()]) == {"score": ("boxes", "label")}
    assert rankings([{"logits": np.array([[3.0, 1.0, 2.0]]), "mask": np.array([[1, 0, 1]])}]) == {}
    assert rankings([]) == {}


@pytest.mark.parametrize("rows", [[0, 3, 2, 1, 4, 5], [0, 2, 3, 1, 4, 5]])
def test_rows_of_equal_scores_come_in_the_references_order(rows: list[int]) -> None:
    reference = detections()
    candidate = in_rows(reference, rows)
    ordered = ties_in_order(reference, candidate, rankings([reference]))
    for name, value in reference.items():
        np.testing.assert_array_equal(ordered[name], value)
    np.testing.assert_array_equal(candidate["label"][0], reference["label"][0, rows])  # what was given stays
    comparison = compare([reference], [candidate])
    assert [output.equal.tolist() for output in comparison.outputs.values()] == [[1, 1]] * 4


def test_scores_that_only_the_candidate_tells_apart_are_a_tie() -> None:
    reference = detections()
    other = in_rows(reference, [0, 3, 1, 2, 4, 5])
    other["score"][0, 1:4] = [0.7002, 0.7001, 0.7]
    assert compare([reference], [other]).outputs["boxes"].equal.min() == 1


@pytest.mark.parametrize(("second", "equal"), [(0.6999, 1), (0.69, 0)])
def test_scores_that_the_candidate_makes_equal_are_one_if_they_were_near(second: float, equal: int) -> None:
    """As where fewer bits round two scores to one; a candidate to which all scores are equal is no such thing."""
    reference = detections()
    reference["score"][0] = [0.9, 0.7, second, 0.5, 0.2, 0.0]
    candidate = in_rows(reference, [0, 2, 1, 3, 4, 5])
    candidate["score"][0, 1:3] = 0.7
    assert compare([reference], [candidate], near=2**-11).outputs["boxes"].equal.min() == equal
    assert compare([reference], [candidate]).outputs["boxes"].equal.min() == 0
    candidate["score"][0, 1:3] = [0.7, 0.6999]  # it tells them apart, and wrongly
    assert compare([reference], [candidate], near=2**-11).outputs["boxes"].equal.min() == 0


def test_labels_the_wrong_way_round_are_not_made_right_by_equal_scores() -> None:
    random = np.random.default_rng(0)
    score = np.sort(random.dirichlet(np.full(5, 3000.0), 64), axis=1)[:, ::-1].astype(np.float32)
    label = np.argsort(random.random((64, 10)), axis=1)[:, :5]
    candidate = {"score": np.full_like(score, 0.2), "label": label[:, ::-1]}
    found = compare([{"score": score, "label": label}], [candidate], near=2**-11).outputs["label"]
    assert (found.top1.mean(), found.equal.mean()) == (0, 0)


def test_ties_do_not_chain() -> None:
    """Each is near the next, and the last is not near the first."""
    reference = detections()
    reference["score"][0] = [0.7, 0.6998, 0.6996, 0.6994, 0.2, 0.0]
    far, close = (in_rows(reference, rows) for rows in ([3, 1, 2, 0, 4, 5], [1, 0, 3, 2, 4, 5]))
    for candidate, equal in ((far, 0), (close, 1)):
        candidate["score"][0, :4] = 0.7
        assert compare([reference], [candidate], near=4e-4).outputs["boxes"].equal.min() == equal


@pytest.mark.parametrize("rows", [[1, 0, 2, 3, 4, 5], [4, 1, 2, 3, 0, 5]])
def test_other_rows_stay_where_they_are(rows: list[int]) -> None:
    """An engine that has the right rows in a wrong order is told apart."""
    reference = detections()
    candidate = in_rows(reference, rows)
    candidate["score"] = reference["score"]
    comparison = compare([reference], [candidate])
    assert comparison.outputs["boxes"].cosine.min() < 0.95
    assert comparison.outputs["label"].equal.tolist() == [0, 1]


def test_a_wrong_box_among_equal_scores_stays_wrong() -> None:
    reference = detections()
    candidate = in_rows(reference, [0, 3, 1, 2, 4, 5])
    candidate["boxes"][0, 2] = 0
    comparison = compare([reference], [candidate])
    assert comparison.outputs["boxes"].cosine.min() < 0.95
    candidate["boxes"][0, 2] = np.nan
    comparison = compare([reference], [candidate])
    assert comparison.outputs["boxes"].not_finite.tolist() == [4, 0]


def test_outputs_of_other_shapes_are_left_to_others() -> None:
    reference = detections()
    shorter = {name: value[:, :3] for name, value in reference.items()}
    ordered = ties_in_order(reference, shorter, rankings([reference]))
    assert all(ordered[name] is value for name, value in shorter.items())


@dataclass
class Restless:
    """Answers x's rows, of equal scores in a new order every time; `moves` moves one other row among others."""

    moves: bool = False
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))

    def run(self, tensors: Mapping[str, Array]) -> Answer:
        boxes = tensors["x"].copy()
        items = len(boxes)
        score = np.tile(np.array(SCORES[0], np.float32), (items, 1))
        label = np.arange(6, dtype=np.int32)[None].repeat(items, 0)
        for item in range(items):
            rows = np.array([0, *self.random.permutation([1, 2, 3]), 4, 5])
            boxes[item], label[item] = boxes[item, rows], label[item, rows]
        if self.moves and items > 1 and not (boxes[0] == boxes[1]).all():
            boxes[:, [0, 4]] = boxes[:, [4, 0]]
        return {"boxes": boxes, "label": label, "score": score}

    def close(self) -> None:
        """Nothing to free."""


@pytest.mark.parametrize("moves", [False, True])
def test_an_order_of_equals_that_changes_is_no_dependence_on_neighbours(moves: bool) -> None:
    x = np.random.default_rng(2).uniform(0, 48, (4, 6, 4)).astype(np.float32)
    found = check_neighbours(Restless(moves), Samples(({"x": x},), ""), [4], TOLERANCES["fp32"])
    assert found.passed != moves
    assert found.least_equal == 1


@dataclass
class Deciding:
    """One object with two overlapping boxes of equal scores, of which a suppression keeps either, and three others.

    `other` is what it does beside that to an item among others: nothing, drops the last box, or moves the first one
    to where nothing overlaps it.
    """

    other: str = ""
    labels: bool = False
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))

    def run(self, tensors: Mapping[str, Array]) -> Answer:
        x = tensors["x"]
        items, alone = len(x), bool((x == x[:1]).all())
        boxes = np.tile(
            np.array([[0, 0, 8, 8], [20, 20, 30, 30], [40, 0, 48, 8], [0, 40, 8, 48]], np.float32), (items, 1, 1)
        )
        boxes += x[:, :1, None]
        score = np.tile(np.array([0.9, 0.8, 0.7, 0.6], np.float32), (items, 1))
        label = np.zeros((items, 4), np.int32)
        if self.labels:
            label[:, 0] = self.random.integers(0, 2, items)
            return {"label": label, "score": score}
        boxes[:, 0] += self.random.integers(0, 2, (items, 1)) * np.float32(2)
        if self.other == "drops" and not alone:
            boxes[:, 3], score[:, 3] = 0, 0
        if self.other == "moves" and not alone:
            boxes[:, 0] += 12
        return {"boxes": boxes, "label": label, "score": score, "count": (score > 0).sum(axis=1, keepdims=True)}

    def close(self) -> None:
        """Nothing to free."""


def judged(engine: Deciding) -> Neighbours:
    x = np.arange(1, 7, dtype=np.float32)[:, None] / 10
    return check_neighbours(engine, Samples(({"x": x},), ""), [6], TOLERANCES["fp32"])


def test_either_of_two_boxes_with_equal_scores_may_be_kept() -> None:
    found = judged(Deciding())
    assert found.passed, found.check().text
    assert 0.05 < found.tied < 0.2  # one row of four, in every second placement
    assert found.strange == 0


def test_a_box_that_neighbours_push_out_is_seen_beside_that() -> None:
    found = judged(Deciding("drops"))
    assert not found.passed
    assert found.strange == 0.25  # one row of four, wherever there was a tie
    assert found.worst == pytest.approx(1, abs=0.1)  # and a box that is gone, where there was none
    only_ties = replace(found, worst=0.0, least_equal=1.0)
    assert not only_ties.passed
    assert "0.250 of the rows are others where candidates of equal scores take turns" in only_ties.check().text


def test_a_box_that_neighbours_move_is_seen_beside_that() -> None:
    found = judged(Deciding("moves"))
    assert not found.passed
    assert (found.tied, found.worst > 0.1) == (0, True)


def test_a_label_that_changes_is_no_tie_of_boxes() -> None:
    found = judged(Deciding(labels=True))
    assert not found.passed
    assert found.tied == 0


@dataclass
class Systematic:
    """Four objects [k, 4] an item with scores, labels and a count, of eight rows; `wrong` says what becomes of those
    that are among others."""

    wrong: str

    def run(self, tensors: Mapping[str, Array]) -> Answer:
        x = tensors["x"]
        items, alone = len(x), bool((x == x[:1]).all())
        answer: Answer = {
            "boxes": np.zeros((items, 8, 4), np.float32), "score": np.zeros((items, 8), np.float32),
            "label": np.zeros((items, 8), np.int64), "count": np.full((items, 1), 4),
        }  # fmt: skip
        for item in range(items):
            random = np.random.default_rng(int(x[item, 0] * 10))
            corner = random.random((4, 2)) * 100
            answer["boxes"][item, :4] = np.concatenate([corner, corner + 20], axis=1)
            answer["score"][item, :4] = np.sort(random.random(4))[::-1]
            answer["label"][item, :4] = random.integers(0, 9, 4)
        if not alone:
            getattr(self, f"_{self.wrong}")(answer)
        return answer

    def _shift(self, answer: Answer) -> None:
        answer["boxes"][:, :4] += 8

    def _rename(self, answer: Answer) -> None:
        answer["label"][:, :4] = (answer["label"][:, :4] + 1) % 9

    def _rename_tied(self, answer: Answer) -> None:
        self._shift(answer)
        self._rename(answer)

    def _add(self, answer: Answer) -> None:
        answer["boxes"][:, 0] += 8
        answer["boxes"][:, 4:] = [0, 0, 50, 50]
        answer["score"][:, 4:] = answer["score"][:, 3:4] * np.float32(0.9)
        answer["count"][:] = 8

    def _miscount(self, answer: Answer) -> None:
        answer["boxes"][:, 0] += 8
        answer["count"][:] = 5

    def _blur(self, answer: Answer) -> None:
        """One row is tied in a few items; another output of all of them is wrong there."""
        few = answer["boxes"][:, 0, 0] > 60
        answer["boxes"][few, 0] += 8
        answer["boxes"][few, 1] += 60

    def close(self) -> None:
        """Nothing to free."""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("shift", "1.000 of the rows are other boxes of the same score"),
        ("rename", "answers that are no floats are equal in"),
        ("rename_tied", "answers that are no floats are equal in"),
        ("add", "0.500 of the rows are others where candidates of equal scores take turns"),
        ("miscount", "answers that are no floats are equal in"),
        ("blur", "of the rows are others where candidates of equal scores take turns"),
    ],
)
def test_what_neighbours_change_everywhere_is_no_tie(wrong: str, said: str) -> None:
    x = np.arange(1, 17, dtype=np.float32)[:, None] / 10
    found = check_neighbours(Systematic(wrong), Samples(({"x": x},), ""), [8], TOLERANCES["int8"])
    assert not found.passed
    assert said in found.check().text, found.check().text
