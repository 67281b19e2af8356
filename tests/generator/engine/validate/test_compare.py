"""Figures of two arrays, and what cannot be compared."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from generator.engine.errors import StageError
from generator.engine.validate import numbers
from generator.engine.validate.compare import compare

FLOATS = st.floats(-1e6, 1e6, width=32).map(lambda value: value if abs(value) > 1e-6 else 0.0)
ARRAYS = hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=3, max_side=6), elements=FLOATS)


@given(ARRAYS)
def test_an_array_agrees_with_itself(array: np.ndarray) -> None:
    output = compare([{"y": array}], [{"y": array}]).outputs["y"]
    assert output.cosine == pytest.approx(np.ones(len(array)))
    assert output.snr_db == numbers.MOST_DB
    assert output.relative_error == 0
    assert output.equal.all()
    assert output.top1.all()
    assert not output.not_finite.any()


@given(ARRAYS, st.floats(1e-3, 1e3))
def test_cosine_does_not_see_scale_and_signal_to_noise_does(array: np.ndarray, scale: float) -> None:
    scaled = array.astype(np.float64) * scale
    assert numbers.cosine(array, scaled) == pytest.approx(np.ones(len(array)), abs=1e-6)
    signal, noise = numbers.powers(array, scaled)
    expected = numbers.MOST_DB if scale == 1 else -20 * math.log10(abs(1 - scale))
    assert numbers.decibels(signal, noise)[signal > 0] == pytest.approx(min(expected, numbers.MOST_DB), abs=1e-2)


@given(ARRAYS, st.data())
def test_items_in_batches_are_those_in_one(array: np.ndarray, data: st.DataObject) -> None:
    other = data.draw(hnp.arrays(np.float32, array.shape, elements=FLOATS))
    cut = data.draw(st.integers(0, len(array)))
    whole = compare([{"y": array}], [{"y": other}]).outputs["y"]
    parts = compare([{"y": array[:cut]}, {"y": array[cut:]}], [{"y": other[:cut]}, {"y": other[cut:]}]).outputs["y"]
    assert parts.facts() == pytest.approx(whole.facts())
    assert np.all(np.abs(whole.cosine) <= 1)
    assert -numbers.MOST_DB <= whole.snr_db <= numbers.MOST_DB


def test_known_figures() -> None:
    reference = np.array([[3.0, 4.0], [1.0, 0.0]], dtype=np.float32)
    candidate = np.array([[4.0, 3.0], [1.0, 0.1]], dtype=np.float32)
    output = compare([{"y": reference}], [{"y": candidate}]).outputs["y"]
    assert output.cosine == pytest.approx([24 / 25, 1 / math.hypot(1, 0.1)])
    assert output.snr_db == pytest.approx(10 * math.log10(26 / 2.01))
    assert output.top1.tolist() == [0, 1]
    assert output.facts()["largest_error"] == 1
    assert output.relative_error == 0.25


def test_nothing_and_something_do_not_agree() -> None:
    zeros, ones = np.zeros((1, 3)), np.ones((1, 3))
    assert numbers.cosine(zeros, zeros).tolist() == [1]
    assert numbers.cosine(zeros, ones).tolist() == [0]
    assert numbers.decibels(*numbers.powers(zeros, ones)).tolist() == [-numbers.MOST_DB]
    assert numbers.decibels(*numbers.powers(zeros, zeros)).tolist() == [numbers.MOST_DB]


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_other_float_types(dtype: str) -> None:
    import ml_dtypes

    wide = np.array([[1.0, 2.0, 3.0]], dtype=np.float32)
    narrow = wide.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    output = compare([{"y": wide}], [{"y": narrow}]).outputs["y"]
    assert output.is_float
    assert output.equal.all()


def test_values_that_are_not_finite() -> None:
    reference = np.array([[1.0, -np.inf], [1.0, 2.0], [np.nan, 2.0]])
    candidate = np.array([[1.0, -np.inf], [np.nan, np.inf], [np.nan, 2.0]])
    output = compare([{"y": reference}], [{"y": candidate}]).outputs["y"]
    assert output.not_finite.tolist() == [0, 2, 1]
    assert output.reference_not_finite.tolist() == [1, 0, 1]
    assert np.isfinite(output.cosine).all()


@pytest.mark.parametrize(
    ("reference", "candidate", "equal", "top1"),
    [
        (np.array([[3, 1], [2, 5]]), np.array([[3, 2], [1, 5]]), [0, 0], [1, 0]),
        (np.array([True, False]), np.array([True, True]), [1, 0], [1, 0]),
        (np.array([["cat"], ["dog"]], dtype=object), np.array([["cat"], ["cow"]], dtype=object), [1, 0], [1, 0]),
    ],
)
def test_answers_that_are_no_floats(
    reference: np.ndarray, candidate: np.ndarray, equal: list[int], top1: list[int]
) -> None:
    output = compare([{"y": reference}], [{"y": candidate}]).outputs["y"]
    assert not output.is_float
    assert (output.equal.tolist(), output.top1.tolist()) == (equal, top1)
    assert set(output.facts()) == {"equal", "top1_agreement"}


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        ({"z": np.zeros((2, 3))}, "has outputs `z`, the FP32 graph `y`"),
        ({"y": np.zeros((2, 4))}, "output `y` has shape [2, 4] where the FP32 graph's is [2, 3]"),
        ({"y": np.zeros((2, 3), dtype=np.int64)}, "output `y` is int64 where the FP32 graph's is float64"),
    ],
)
def test_what_cannot_be_compared(candidate: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(StageError) as raised:
        compare([{"y": np.zeros((2, 3))}], [candidate])
    assert [finding.code for finding in raised.value.findings] == ["TK979"]
    assert words in raised.value.findings[0].message


def test_another_number_of_batches() -> None:
    with pytest.raises(StageError, match="0 batches of answers to compare with FP32's 1"):
        compare([{"y": np.zeros((2, 3))}], [])
