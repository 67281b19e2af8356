"""An engine is held at every shape against what it is elsewhere: being coarse is for the gate, being broken is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from generator.engine.compile.base import ShapeRange
from generator.engine.runner import Samples
from generator.engine.validate.compare import compare
from generator.engine.validate.judge import Gate, judge
from generator.engine.validate.ranked import in_nearest_order, rankings
from generator.engine.validate.shapes import check_shapes
from generator.engine.validate.verdict import Check

Array = np.ndarray
Answers = dict[str, Array]
PROFILE = {"x": ShapeRange((1, 8), (8, 8), (16, 8))}
X = np.random.default_rng(5).normal(size=(48, 8)).astype(np.float32)
SAMPLES = Samples(tuple({"x": X[i : i + 16]} for i in range(0, 48, 16)), "x")


class Engine:
    """`answer` of a batch [n, 8]."""

    def __init__(self, answer: Callable[[Array], Answers]) -> None:
        self.answer = answer

    def run(self, tensors: Answers) -> Answers:
        return self.answer(tensors["x"])

    def close(self) -> None:
        """Nothing is held."""


def plain(x: Array) -> Answers:
    return {"y": x.copy()}


def coarse(step: float) -> Callable[[Array], Answers]:
    return lambda x: {"y": np.round(x / step) * step}


def detect(x: Array) -> Answers:
    """As behind NMS: boxes in the order of their scores; the first two of an item's are nearly equal."""
    size = np.abs(x) * 40 + 4
    scores = np.tile(np.array([0.9, 0.9 - 1e-7, 0.7, 0.5], np.float32), (len(x), 1))
    boxes = np.stack([size[:, :4], size[:, 4:], size[:, :4] + 9, size[:, 4:] + 9], axis=-1)
    return {
        "boxes": boxes,
        "score": scores,
        "label": np.tile(np.arange(4), (len(x), 1)),
        "count": np.full((len(x), 1), 4),
    }


def swapped(x: Array) -> Answers:
    answer = detect(x)
    return {name: value[:, [1, 0, 2, 3]] if value.shape[1] == 4 else value for name, value in answer.items()}


def shape_checks(fp32: Callable[[Array], Answers], engine: Callable[[Array], Answers], **asked: float) -> list[Check]:
    pair = Engine(fp32), Engine(engine)
    comparison = compare(*([runner.run(batch) for batch in SAMPLES.batches] for runner in pair))
    shapes = check_shapes(*pair, [PROFILE], SAMPLES)
    checks = judge("int8", Gate(**asked), comparison, shapes=shapes).checks  # type: ignore[arg-type]
    return [check for check in checks if check.code == "TK976"]


def at(
    size: int, wrong: Callable[[Answers], Answers], right: Callable[[Array], Answers]
) -> Callable[[Array], Answers]:
    """`right`, and what `wrong` makes of it in batches of `size`."""
    return lambda x: wrong(right(x)) if len(x) == size else right(x)


def rolled(answer: Answers) -> Answers:
    """Everybody gets the answer of a neighbour."""
    return {name: np.roll(value, 1, axis=0) for name, value in answer.items()}


def test_an_engine_that_is_coarse_everywhere_is_not_broken() -> None:
    pair = Engine(plain), Engine(coarse(0.7))
    alone = check_shapes(*pair, [PROFILE], SAMPLES)
    assert not all(result.passed for result in alone)
    checks = shape_checks(plain, coarse(0.7))
    assert all(check.passed for check in checks)
    assert all(0.82 <= float(check.limit.removeprefix("≥ ")) <= 0.99 for check in checks)
    assert any(float(check.limit.removeprefix("≥ ")) < 0.99 for check in checks)


def test_what_is_far_from_fp32_everywhere_is_broken_unless_the_spec_asks_for_less() -> None:
    assert not all(check.passed for check in shape_checks(plain, coarse(2)))
    assert all(check.passed for check in shape_checks(plain, coarse(2), min_cosine=0.0))


@pytest.mark.parametrize("right", [plain, coarse(0.7)])
@pytest.mark.parametrize("size", [8, 16])
def test_items_that_change_places_at_one_size(right: Callable[[Array], Answers], size: int) -> None:
    """With 16 the gate set's own batches are wrong, and agree with nothing: the other shapes tell."""
    checks = shape_checks(plain, at(size, rolled, right))
    assert [check.passed for check in checks] == [True, size != 8, size != 16]


def test_the_last_item_of_a_batch_that_is_coarser_than_elsewhere() -> None:
    def last(answer: Answers) -> Answers:
        y = answer["y"].copy()
        y[-1] += 0.5
        return {"y": y}

    assert [c.passed for c in shape_checks(plain, at(8, last, plain))] == [True, False, True]


def test_a_value_that_is_not_finite_at_one_size() -> None:
    def spoilt(answer: Answers) -> Answers:
        return {"y": np.where(np.arange(8) == 3, np.nan, answer["y"])}

    checks = shape_checks(plain, at(8, spoilt, coarse(0.7)), min_cosine=0.0)
    assert [check.passed for check in checks] == [True, False, True]


def test_rows_of_equal_scores_may_change_places() -> None:
    assert rankings([detect(X)]) == {"score": ("boxes", "label")}
    checks = shape_checks(detect, swapped)
    assert all(check.passed for check in checks)
    assert all(check.value == "1.00000" for check in checks)


@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize("wrong", [
    lambda a: {n: -v for n, v in a.items()},
    lambda a: {n: v * 0 for n, v in a.items()},
    lambda a: {**a, "boxes": a["boxes"][..., [2, 3, 0, 1]] * [1, 1, -1, 1]},
    lambda a: {**a, "boxes": np.roll(a["boxes"], 1, axis=1)},
])  # fmt: skip
def test_wrong_boxes_at_one_size(wrong: Callable[[Answers], Answers], size: int) -> None:
    checks = shape_checks(detect, at(size, wrong, swapped))
    assert [check.passed for check in checks] == [True, size != 8, size != 16]


def test_scores_of_classes_are_not_ranked() -> None:
    assert rankings([plain(X)]) == {}
    falling = -np.sort(-X, axis=1)
    assert rankings([{"y": falling}]) == {}
    assert rankings([{"y": falling, "index": np.argsort(-X)}]) == {"y": ("index",)}
    assert rankings([{"y": X, "index": np.argsort(-X)}]) == {}
    assert rankings([]) == {}


@pytest.mark.parametrize(("given", "ordered"), [([5.0, 1.0, 1.0], [1, 1, 5]), ([5.0, np.nan, 1.0], [1, np.nan, 5])])
def test_each_row_is_paired_once(given: list[float], ordered: list[float]) -> None:
    ranks = {"score": ["boxes"]}
    reference = {"boxes": np.array([[[1.0], [1.1], [5.0]]]), "score": np.ones((1, 3))}
    found = in_nearest_order(reference, {**reference, "boxes": np.array(given).reshape(1, 3, 1)}, ranks)
    np.testing.assert_array_equal(found["boxes"].reshape(-1), ordered)


def test_a_row_moves_as_a_whole() -> None:
    """A box that has the score of another one does not get its own back."""
    boxes = np.array([[[0.0, 0.0, 9.0, 9.0], [90.0, 90.0, 99.0, 99.0]]])
    reference = {"boxes": boxes, "score": np.array([[0.9, 0.2]])}
    mixed = {"boxes": boxes[:, ::-1], "score": reference["score"]}
    found = in_nearest_order(reference, mixed, rankings([reference]))
    np.testing.assert_array_equal(found["boxes"], boxes)
    np.testing.assert_array_equal(found["score"], [[0.2, 0.9]])
    whole = {name: value[:, ::-1] for name, value in reference.items()}
    found = in_nearest_order(reference, whole, rankings([reference]))
    assert all(np.array_equal(found[name], reference[name]) for name in reference)
