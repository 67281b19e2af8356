"""Limits, notes, and what FP32 itself misses."""

from __future__ import annotations

import numpy as np
import pytest
from planted import GATE, failed

from generator.engine.errors import StageError
from generator.engine.validate.compare import Comparison, compare
from generator.engine.validate.judge import FEW_ITEMS, Gate, judge
from generator.engine.validate.metrics import Score, score_cosine, score_top1


def comparison(error: float = 0.0, items: int = 200, **more: np.ndarray) -> Comparison:
    """Scores of ten classes that differ by `error`, relative to their length."""
    random = np.random.default_rng(1)
    reference = random.standard_normal((items, 10))
    noise = random.standard_normal((items, 10))
    noise *= error * np.linalg.norm(reference, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    return compare([{"y": reference, **more}], [{"y": reference + noise, **more}])


def score(right: int, total: int) -> Score:
    return score_top1(
        [np.array(["a" if i < right else "b"], dtype=object) for i in range(total)], np.array(["a"] * total)
    )


@pytest.mark.parametrize(
    ("right", "fp32", "codes"),
    [
        (200, 200, set()),
        (199, 200, set()),
        (198, 200, {"TK973"}),
        (195, 199, {"TK972", "TK973"}),
        (195, 196, {"TK972"}),
    ],
)
def test_floor_and_drop(right: int, fp32: int, codes: set[str]) -> None:
    verdict = judge("int8", GATE, comparison(), reference=score(fp32, 200), candidate=score(right, 200))
    assert failed(verdict) == codes
    assert verdict.passed == (not codes)
    assert [finding.code for finding in verdict.findings()] == sorted(codes)
    assert verdict.changed.lost == tuple(range(right, fp32))


def test_fp32_that_misses_the_floor_is_not_the_precisions_fault() -> None:
    with pytest.raises(StageError) as raised:
        judge("int8", GATE, comparison(), reference=score(190, 200), candidate=score(190, 200))
    [finding] = raised.value.findings
    assert finding.code == "TK971"
    assert "FP32 itself has top1 0.9500 on 200 items, below the floor 0.98" in finding.message


@pytest.mark.parametrize(("error", "codes"), [(0.05, set()), (0.12, {"TK974"}), (0.5, {"TK974"})])
def test_without_labels(error: float, codes: set[str]) -> None:
    verdict = judge("int8", Gate.unlabelled(scores=False), comparison(error))
    assert failed(verdict) == codes


def test_top1_agreement_without_labels() -> None:
    gate = Gate(min_top1_agreement=0.99)
    index = np.arange(200)[:, None]
    assert judge("int8", gate, comparison(0.0, index=index)).passed
    other = compare([{"index": index}], [{"index": np.where(index < 3, -1, index)}])
    assert failed(judge("int8", gate, other)) == {"TK974"}
    assert "`index` has top-1 agreement 0.9850; at least 0.99 is asked" in judge("int8", gate, other).checks[1].text
    assert judge("int8", Gate(min_cosine=0.99, min_snr_db=20), other).passed


def test_limits_beside_labels_hold_where_they_are_given() -> None:
    both = {"reference": score(200, 200), "candidate": score(200, 200)}
    assert judge("int8", GATE, comparison(0.5), **both).passed
    assert failed(judge("int8", Gate("top1", 0.98, 0.005, min_snr_db=20), comparison(0.5), **both)) == {"TK974"}


def test_cosine_has_one_limit_and_names_the_items() -> None:
    gate = Gate("cosine", floor=0.995)
    for error, codes in ((0.05, set()), (0.3, {"TK972"})):
        found = comparison(error)
        verdict = judge("int8", gate, found, candidate=score_cosine(found, gate.floor))
        assert failed(verdict) == codes
        assert bool(verdict.changed.lost) == bool(codes)
        assert verdict.facts["metric"]["fp32"] == 1


def test_a_label_needs_the_score_of_fp32() -> None:
    with pytest.raises(ValueError, match="top1 needs FP32's score too"):
        judge("int8", GATE, comparison(), candidate=score(200, 200))


def test_a_small_gate_set_is_noted_with_its_interval() -> None:
    few = FEW_ITEMS - 1
    both = {"reference": score(few, few), "candidate": score(few, few)}
    [small, single] = judge("int8", GATE, comparison(items=few), **both).notes
    assert "only 99 items: the 95 % interval of top1 is 0.963 to 1.000" in small
    assert "one label of 99 is 0.0101 of top1, more than the `max_drop` of 0.005" in single
    many = {"reference": score(FEW_ITEMS * 2, FEW_ITEMS * 2), "candidate": score(FEW_ITEMS * 2, FEW_ITEMS * 2)}
    assert judge("int8", GATE, comparison(items=few), **many).notes == ()


def test_a_mean_that_hides_losses_and_gains() -> None:
    before, after = score(198, 200), score(198, 200)
    swapped = Score(after.metric, after.value, after.interval, after.right[::-1].copy(), 200, after.by_class)
    verdict = judge("int8", GATE, comparison(), reference=before, candidate=swapped)
    assert verdict.passed
    assert verdict.notes == ("2 items became wrong and 2 right: the mean hides both",)
    assert (verdict.changed.lost, verdict.changed.won) == ((0, 1), (198, 199))
