"""top_k in a graph and in the server: the same winners, in the same order, whatever the scores are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fold_tools import TOLERANCE, Array, Step, as_runtime, network, run, same
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from generator.engine.fold import fold
from generator.engine.fold.operators import SMALLEST

FEW = settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
TINY = float(np.float32(1e-45))
SPECIAL = [0.0, -0.0, 1.0, -1.0, TINY, -TINY, np.nan, np.inf, -np.inf, -SMALLEST, SMALLEST]
LOGITS = [0.0, -0.0, 1.0, -1.0, TINY, np.nan, np.inf, -np.inf, 2.0**100, -(2.0**100), 5.0, 5.5, 90.0]
NAMES = {"label_output": "label", "score_output": "score"}


def ask(scores: Array, k: int, *, softmax: bool = False, **parameters: Any) -> tuple[list[Array], dict[str, Array]]:
    """(label, score) of the graph, and the runtime's tensors."""
    before: list[Step] = [("softmax", {})] if softmax else []
    steps: list[Step] = [*before, ("top_k", {"k": k, **NAMES, **parameters})]
    made = fold(network(("FP32", ["batch", *scores.shape[1:]])), {}, {"y": steps})
    return run(made.model, scores), as_runtime(steps, scores)


@FEW
@given(st.data(), st.integers(1, 4), st.integers(1, 40))
def test_few_different_scores(data: st.DataObject, items: int, classes: int) -> None:
    """Of which many are equal, NaN, infinite, or zeros of both signs."""
    scores = data.draw(arrays.arrays(np.float32, (items, classes), elements=st.sampled_from(SPECIAL)))
    all_three = np.isnan(scores).any(1) & (scores == -np.inf).any(1) & (scores == np.float32(SMALLEST)).any(1)
    assume(not all_three.any())  # the one row of which `top_k` says that it differs
    [label, score], wanted = ask(scores, data.draw(st.integers(1, classes)))
    same(label, wanted["label"])
    same(score, wanted["score"])


@FEW
@given(st.data(), st.integers(1, 3), st.integers(1, 9))
def test_any_scores(data: st.DataObject, items: int, classes: int) -> None:
    scores = data.draw(arrays.arrays(np.float32, (items, 2, classes)))
    special = np.isnan(scores) | ~(np.abs(scores) < 3e38)
    scores[special] = 0
    [label, score], wanted = ask(scores, data.draw(st.integers(1, classes)))
    same(label, wanted["label"])
    same(score, wanted["score"])


@FEW
@given(st.data(), st.integers(1, 3), st.integers(1, 33))
def test_behind_softmax(data: st.DataObject, items: int, classes: int) -> None:
    """Winners are those of the runtime, unless their scores are closer than softmax is exact."""
    scores = data.draw(arrays.arrays(np.float32, (items, classes), elements=st.sampled_from(LOGITS)))
    k = data.draw(st.integers(1, classes))
    [label, score], wanted = ask(scores, k, softmax=True)
    same(score, wanted["score"], exact=False)
    chances = as_runtime([("softmax", {})], scores)
    differ = label != wanted["label"]
    mine, theirs = (np.take_along_axis(chances, found, axis=1)[differ] for found in (label, wanted["label"]))
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=TOLERANCE)
    distinct = np.isnan(chances).any(1) | (np.diff(np.sort(chances, axis=1), axis=1) % 1 > TOLERANCE).all(1)
    assert not differ[distinct].any()


@pytest.mark.parametrize("items", [1, 32])
@pytest.mark.parametrize("classes", [1, 2, 17, 1000])
@pytest.mark.parametrize("value", [0.0, -3.5, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("softmax", [False, True])
def test_equal_scores(items: int, classes: int, value: float, softmax: bool) -> None:
    k = min(classes, 5)
    [label, score], wanted = ask(np.full((items, classes), value, np.float32), k, softmax=softmax)
    assert label.tolist() == [list(range(k))] * items
    same(label, wanted["label"])
    same(score, wanted["score"], exact=not softmax)


def test_pairs_of_equal_logits_stay_equal_behind_softmax() -> None:
    """Wherever in a row they stand: vector units work on eight at once, and on the rest one by one."""
    rng = np.random.default_rng(5)
    for classes in (3, 7, 8, 9, 15, 16, 17, 31, 33, 100):
        scores = rng.choice(rng.standard_normal(max(1, classes // 3)).astype(np.float32) * 3, (16, classes))
        [label, _], wanted = ask(scores, classes, softmax=True)
        same(label, wanted["label"])


def test_indices_for_labels_are_small() -> None:
    scores = np.array([[1, 3, 2]], np.float32)
    steps: list[Step] = [("top_k", {"k": 2, "labels": ["a", "b", "c"], **NAMES})]
    made = fold(network(("FP32", ["batch", 3])), {}, {"y": steps})
    assert made.outputs == {"y": ("label_index", "score")}
    index, score = run(made.model, scores)
    same(index, np.array([[1, 2]], np.int32))
    same(score, np.array([[3, 2]], np.float32))


@pytest.mark.parametrize("dtype", ["FP16", "FP64", "INT8", "INT64", "UINT8", "BOOL"])
def test_scores_of_other_types(dtype: str) -> None:
    from generator.engine.fold.operators import NUMPY

    scores = np.array([[0, 1, 3, 3, 100], [1, 1, 0, 0, 1]]).astype(NUMPY[dtype])
    steps: list[Step] = [("top_k", {"k": 3, **NAMES})]
    label, score = run(fold(network((dtype, ["batch", 5])), {}, {"y": steps}).model, scores)
    wanted = as_runtime(steps, scores)
    same(label, wanted["label"])
    same(score, wanted["score"])
