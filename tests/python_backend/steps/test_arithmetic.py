from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tritonkit_runtime.batch import Batch
from tritonkit_runtime.steps.arithmetic import CAST_TYPES, Cast, Normalize

BATCH = Batch({}, (2,))
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
INTEGERS = [name for name in CAST_TYPES if "int" in name]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, np.float32])
@pytest.mark.parametrize(("mean", "std"), [(0, 255), (MEAN, STD), (MEAN, 2.5), (1.5, STD), ([7.0], [2.0])])
def test_normalize_is_the_formula_in_fp32(dtype: type, mean: float | list[float], std: float | list[float]) -> None:
    value = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3)).astype(dtype)
    found = Normalize(mean=mean, std=std)(BATCH, value)
    expected = (value.astype(np.float32) - np.float32(mean)) / np.float32(std)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)  # to the last bit, looked up or computed


def test_normalize_takes_any_layout_and_leaves_its_input_alone() -> None:
    planar = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 4), dtype=np.uint8)
    value = planar.transpose(0, 2, 3, 1)
    expected = (value.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
    np.testing.assert_array_equal(Normalize(mean=MEAN, std=STD)(BATCH, value), expected)
    floats = np.ones((2, 3), np.float32)
    Normalize(mean=1, std=2)(BATCH, floats)
    assert floats.all()
    assert Normalize(mean=MEAN, std=STD)(BATCH, np.zeros((0, 4, 3), np.uint8)).shape == (0, 4, 3)


@pytest.mark.parametrize(
    ("mean", "std", "sentence"),
    [
        (0, 0, "std is 0; a value cannot be divided by 0"),
        ([1, 2], [1, 2, 3], "mean has 2 numbers, std 3"),
        ("a", 1, "mean is 'a'; it must be a number"),
        ([], 1, r"mean is \[\]; it must be a number"),
        (0, float("inf"), "std is inf; it must be a number"),
    ],
)
def test_normalize_checks_its_parameters(mean: float, std: float, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Normalize(mean=mean, std=std)


def test_normalize_checks_the_channels() -> None:
    with pytest.raises(ValueError, match=r"3 channels, but the last axis .* another length: \[2, 8, 8, 1\]"):
        Normalize(mean=MEAN, std=STD)(BATCH, np.zeros((2, 8, 8, 1), np.uint8))
    with pytest.raises(ValueError, match="found strings"):
        Normalize(mean=0, std=1)(BATCH, np.array([b"a"], dtype=object))


@pytest.mark.parametrize("name", CAST_TYPES)
@given(value=hnp.arrays(np.float32, 6, elements=st.floats(0, 120, width=32)))
def test_cast_is_astype_where_the_value_fits(name: str, value: np.ndarray) -> None:
    found = Cast(to=name)(BATCH, value)
    assert found.dtype == CAST_TYPES[name]
    np.testing.assert_array_equal(found, value.astype(CAST_TYPES[name]))


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_does_not_fit_takes_the_nearest_value(name: str, dtype: type) -> None:
    valid = np.iinfo(CAST_TYPES[name])
    found = Cast(to=name)(BATCH, np.array([-np.inf, np.nan, np.inf], dtype))
    low, zero, high = (int(value) for value in found)
    assert zero == 0
    assert low == max(valid.min, int(-np.finfo(dtype).max))
    # The largest value of the floating-point type that the integer type still holds.
    assert valid.max - valid.max // 2 ** np.finfo(dtype).nmant <= high <= valid.max or high == np.finfo(dtype).max


@given(hnp.arrays(hnp.integer_dtypes(endianness="="), 4), st.sampled_from(INTEGERS))
def test_integers_are_limited(value: np.ndarray, name: str) -> None:
    valid = np.iinfo(CAST_TYPES[name])
    found = Cast(to=name)(BATCH, value)
    assert [int(x) for x in found] == [min(max(int(x), valid.min), valid.max) for x in value]


def test_cast_copies_nothing_that_has_the_type() -> None:
    value = np.ones(3, np.float32)
    assert Cast(to="fp32")(BATCH, value) is value
    assert np.isinf(Cast(to="fp16")(BATCH, np.float32([1e9]))).all()
    with pytest.raises(ValueError, match="to is 'float'; valid are bool, uint8"):
        Cast(to="float")
    with pytest.raises(ValueError, match="found strings"):
        Cast(to="fp32")(BATCH, np.array([b"a"], dtype=object))
