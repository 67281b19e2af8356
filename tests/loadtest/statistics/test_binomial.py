"""The binomial rule: its published table, its definition, and what it says."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from loadtest.statistics.binomial import few, many, needed, verdict
from loadtest.statistics.judgement import Verdict


@pytest.mark.parametrize(
    ("percentile", "fewest"),
    [
        (0.99, {0: 459, 1: 662, 2: 838, 5: 1307, 10: 2010, 20: 3304, 50: 6898, 100: 12571}),
        (0.999, {0: 4603, 1: 6636, 2: 8403, 5: 13105, 10: 20140, 20: 33097, 50: 69058, 100: 125826}),
    ],
)
def test_the_published_minimum_counts(percentile: float, fewest: dict[int, int]) -> None:
    assert {over: needed(over, percentile, 0.99) for over in fewest} == fewest


def test_the_first_count_by_whole_numbers() -> None:
    """0.99 ^ n <= 0.01, without floating point."""
    assert Fraction(99, 100) ** 459 <= Fraction(1, 100) < Fraction(99, 100) ** 458


@given(st.integers(0, 300), st.sampled_from([0.9, 0.95, 0.99, 0.999]), st.sampled_from([0.9, 0.99]))
def test_needed_is_the_first_that_passes(over: int, percentile: float, confidence: float) -> None:
    n = needed(over, percentile, confidence)
    assert binom.cdf(over, n, 1 - percentile) <= 1 - confidence < binom.cdf(over, n - 1, 1 - percentile)


@given(st.integers(1, 5000), st.integers(0, 100))
def test_the_tails_are_the_binomial_ones(n: int, over: int) -> None:
    over = min(over, n)
    assert math.isclose(float(few(over, n, 0.99)), binom.cdf(over, n, 0.01), rel_tol=1e-6, abs_tol=1e-12)
    assert math.isclose(float(many(over, n, 0.99)), binom.sf(over - 1, n, 0.01), rel_tol=1e-6, abs_tol=1e-12)


def test_real_numbers_lie_between_whole_ones() -> None:
    tail = few(np.linspace(3, 4, 11), 1000.0, 0.99)
    assert np.all(np.diff(tail) > 0)


@pytest.mark.parametrize(
    ("over", "requests", "expected"),
    [
        (0, 459, Verdict.PASS), (0, 458, Verdict.UNDECIDED), (100, 12571, Verdict.PASS), (100, 10000, Verdict.UNDECIDED),
        (160, 10000, Verdict.FAIL), (3, 3, Verdict.FAIL), (1, 1, Verdict.FAIL), (0, 1, Verdict.UNDECIDED),
    ],
)  # fmt: skip
def test_verdicts(over: int, requests: int, expected: Verdict) -> None:
    assert verdict(over, requests) is expected


@pytest.mark.parametrize(("percentile", "confidence"), [(0, 0.99), (1, 0.99), (99, 0.99), (0.99, 1), (0.99, 0.4)])
def test_what_is_no_percentile_or_confidence(percentile: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="lies between"):
        needed(0, percentile, confidence)
    with pytest.raises(ValueError, match="lies between"):
        verdict(0, 1, percentile, confidence)


def test_fewer_than_none_over() -> None:
    with pytest.raises(ValueError, match="-1 requests"):
        needed(-1, 0.99, 0.99)
