from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tritonkit_runtime.batch import Batch, single
from tritonkit_runtime.parameters import Limits, ParameterError, StepSpec, StepsProgram, TensorSpec
from tritonkit_runtime.programs.runners import Signature, StepsRunner
from tritonkit_runtime.steps.nms import Nms

Array = np.ndarray[Any, Any]


def suppress(boxes: Any, scores: Any, **wanted: Any) -> dict[str, Array]:
    settings = {"boxes": "b", "scores": "s", "max_detections": 3} | wanted
    tensors = {"b": np.array(boxes, np.float32), "s": np.array(scores, np.float32)}
    return Nms(**settings)(Batch({}, (len(boxes),)), tensors)


def one_by_one(boxes: Array, scores: Array, most: int, iou: float, least: float) -> list[tuple[float, int, int]]:
    """Suppression of one item as a textbook has it: (score, class, anchor), the best first."""
    kept: list[tuple[float, int, int]] = []
    for label in range(scores.shape[1]):
        chosen: list[int] = []
        for anchor in sorted(range(len(boxes)), key=lambda a: (-float(scores[a, label]), a)):
            if scores[anchor, label] > least and all(share(boxes[anchor], boxes[c]) <= iou for c in chosen):
                chosen.append(anchor)
        kept += [(float(scores[a, label]), label, a) for a in chosen]
    return sorted(kept, key=lambda row: (-row[0], row[1], row[2]))[:most]


def share(a: Array, b: Array) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = float(np.clip(sides, 0, None).prod())
    return common / (float((a[2:] - a[:2]).prod()) + float((b[2:] - b[:2]).prod()) - common)


def test_it_gives_the_best_of_each_place_then_zeros() -> None:
    boxes = [[[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]], [[0, 0, 1, 1]] * 3]
    scores = [[[0.6, 0.1], [0.9, 0.2], [0.1, 0.8]], [[0.2, 0.2]] * 3]
    found = suppress(boxes, scores)
    assert {name: (array.dtype, array.shape) for name, array in found.items()} == {
        "boxes": (np.float32, (2, 3, 4)), "label": (np.int64, (2, 3)),
        "score": (np.float32, (2, 3)), "count": (np.int32, (2, 1)),
    }  # fmt: skip
    assert found["count"].tolist() == [[2], [0]]
    assert found["boxes"].tolist() == [[[1, 0, 11, 10], [20, 20, 30, 30], [0] * 4], [[0] * 4] * 3]
    assert found["label"].tolist() == [[0, 1, 0], [0, 0, 0]]
    np.testing.assert_array_equal(found["score"], np.array([[0.9, 0.8, 0], [0, 0, 0]], np.float32))


def test_labels_are_texts_and_empty_beyond_the_count() -> None:
    found = suppress([[[0, 0, 1, 1], [5, 5, 6, 6]]], [[[0.1, 0.9], [0.2, 0.1]]], labels=["cat", "hündin"])
    assert found["label"].tolist() == [["hündin".encode(), b"", b""]]
    assert found["label"].dtype == object


@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_textbooks_suppression(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 20, (5, 60, 2)).astype(np.float32)
    boxes = np.concatenate([start, start + rng.integers(1, 12, (5, 60, 2))], axis=2).astype(np.float32)
    scores = np.round(rng.random((5, 60, 3)), 1).astype(np.float32)
    found = suppress(boxes, scores, max_detections=12, iou_threshold=0.45, score_threshold=0.55)
    for item in range(5):
        wanted = one_by_one(boxes[item], scores[item], 12, 0.45, 0.55)
        count = int(found["count"][item, 0])
        assert count == len(wanted) > 0
        assert found["label"][item, :count].tolist() == [label for _, label, _ in wanted]
        assert found["score"][item, :count].tolist() == [score for score, _, _ in wanted]
        assert found["boxes"][item, :count].tolist() == [boxes[item, anchor].tolist() for _, _, anchor in wanted]


def test_without_classes_a_box_goes_for_a_better_one_of_any() -> None:
    boxes, scores = [[[0, 0, 10, 10], [0, 0, 10, 9], [30, 30, 31, 31]]], [[[0.6, 0.5], [0.1, 0.7], [0.4, 0.4]]]
    assert suppress(boxes, scores)["count"].tolist() == [[3]]
    found = suppress(boxes, scores, per_class=False)
    assert (found["count"].tolist(), found["label"].tolist()) == ([[2]], [[1, 0, 0]])


def test_thresholds_are_exclusive_and_compared_in_fp32() -> None:
    boxes = [[[0, 0, 1, 1], [2, 2, 3, 3]]]
    found = suppress(boxes, [[[0.3], [np.nextafter(np.float32(0.3), np.float32(1))]]], score_threshold=0.3)
    assert found["count"].tolist() == [[1]]
    halves = [[[0, 0, 2, 1], [0, 0, 1, 1]]]
    assert suppress(halves, [[[0.9], [0.8]]], iou_threshold=0.5)["count"].tolist() == [[2]]
    assert suppress(halves, [[[0.9], [0.8]]], iou_threshold=0.499)["count"].tolist() == [[1]]


def test_a_neighbour_changes_no_items_answer() -> None:
    rng = np.random.default_rng(4)
    start = rng.random((6, 40, 2)) * 20
    boxes, scores = np.concatenate([start, start + 6], axis=2), rng.random((6, 40, 2)) ** 3
    together = suppress(boxes, scores, max_detections=9)
    for item in range(6):
        alone = suppress(boxes[item : item + 1], scores[item : item + 1], max_detections=9)
        for name, array in alone.items():
            np.testing.assert_array_equal(array[0], together[name][item])


@pytest.mark.parametrize("shape", [(0, 5, 2), (3, 0, 2), (3, 5, 0)])
@pytest.mark.parametrize("per_class", [True, False])
def test_nothing_to_suppress_is_no_detection(shape: tuple[int, int, int], per_class: bool) -> None:
    found = suppress(np.ones((*shape[:2], 4)), np.ones(shape), per_class=per_class)
    assert found["count"].tolist() == [[0]] * shape[0]
    assert found["boxes"].shape == (shape[0], 3, 4)


def test_half_precision_is_taken_as_it_is() -> None:
    tensors = {"b": np.array([[[0, 0, 8, 8]]], np.float16), "s": np.array([[[0.75]]], np.float16)}
    found = Nms(boxes="b", scores="s", max_detections=1)(Batch({}, (1,)), tensors)
    assert (found["boxes"].dtype, found["score"].tolist()) == (np.float32, [[0.75]])


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"max_detections": 0}, "max_detections is 0; it must be a whole number of at least 1"),
        ({"iou_threshold": 1.5}, "iou_threshold is 1.5; it must be from 0 to 1"),
        ({"score_threshold": float("nan")}, "score_threshold is nan; it must be a number"),
        ({"labels": "cat"}, "labels must be a list of strings"),
        ({"boxes_output": "count"}, "need names of their own; found b, s and count, label, score, count"),
        ({"count_output": "score"}, "need names of their own"),
    ],
)
def test_parameters_that_cannot_be_right(wanted: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        suppress([[[0, 0, 1, 1]]], [[[0.5]]], **wanted)


@pytest.mark.parametrize(
    ("boxes", "scores", "wanted", "sentence"),
    [
        ((1, 3, 4), (1, 2, 5), {}, r"found \[1, 3, 4\] and \[1, 2, 5\]"),
        ((1, 3, 5), (1, 3, 5), {}, r"found \[1, 3, 5\] and \[1, 3, 5\]"),
        ((1, 3, 4), (1, 3), {}, r"takes numbers \[N, anchors, ...\] as s, found float32 \[1, 3\]"),
        ((1, 3, 4), (1, 3, 2), {"labels": ["one"]}, r"there are 1 labels, but 2 classes: \[1, 3, 2\]"),
    ],
)
def test_tensors_that_do_not_fit(boxes: Any, scores: Any, wanted: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        suppress(np.zeros(boxes), np.zeros(scores), **wanted)


def runner(inputs: tuple[str, ...], optional: bool = False) -> StepsRunner:
    step = StepSpec("nms", {"boxes": "b", "scores": "s", "max_detections": 2})
    lengths = {"b": (3, 4), "s": (3, 1)}
    outputs = (("boxes", "FP32", (2, 4)), ("label", "INT64", (2,)), ("score", "FP32", (2,)), ("count", "INT32", (1,)))
    signature = Signature(
        tuple(TensorSpec(name, "FP32", lengths.get(name, (1,)), optional) for name in inputs),
        tuple(TensorSpec(*output) for output in outputs), 4, Limits(),
    )  # fmt: skip
    return StepsRunner(StepsProgram((step,)), signature, Path())


def test_a_program_of_steps_gives_it_its_two_tensors() -> None:
    boxes = np.array([[0, 0, 1, 1], [4, 4, 5, 5], [0, 0, 1, 1]], np.float32)
    scores = np.array([[0.5], [0.9], [0.8]], np.float32)
    whole = runner(("s", "b")).run(Batch({"b": boxes[None], "s": scores[None]}, (1,)))
    without_batch = runner(("b", "s")).run(single({"b": boxes, "s": scores}))
    assert whole["count"].tolist() == [[2]]
    assert without_batch["count"].tolist() == [2]
    for name, array in without_batch.items():
        np.testing.assert_array_equal(array, whole[name][0])


@pytest.mark.parametrize(
    ("inputs", "optional", "sentence"),
    [
        (("b",), False, "the first step takes b, s; the declared inputs are b"),
        (("b", "s", "t"), False, "the first step takes b, s; the declared inputs are b, s, t"),
        (("b", "t"), False, "the first step takes b, s; the declared inputs are b, t"),
        (("b", "s"), True, "that is not optional; the model declares others"),
    ],
)
def test_a_program_with_other_inputs_is_refused(inputs: tuple[str, ...], optional: bool, sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        runner(inputs, optional)
