"""Error rates with their intervals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from loadtest.statistics.judgement import Verdict
from loadtest.statistics.rates import error_rate, errors_verdict


@given(st.integers(1, 100_000), st.integers(0, 100_000), st.sampled_from([0.9, 0.98, 0.99]))
def test_the_interval_is_the_exact_one(n: int, errors: int, confidence: float) -> None:
    errors = min(errors, n)
    found = error_rate(errors, n, confidence)
    exact = binomtest(errors, n).proportion_ci(confidence)
    assert found.value == errors / n
    assert found.low == pytest.approx(exact.low, rel=1e-6, abs=1e-12)
    assert found.high == pytest.approx(exact.high, rel=1e-6, abs=1e-12)


def test_errors_in_groups_are_less_sure() -> None:
    alone, grouped = error_rate(20, 10_000), error_rate(20, 10_000, worth=1000)
    assert grouped.low < alone.low < alone.value == grouped.value < alone.high < grouped.high


@pytest.mark.parametrize(
    ("errors", "n", "expected"),
    [
        (0, 4603, Verdict.PASS), (0, 4602, Verdict.UNDECIDED), (1, 6636, Verdict.PASS), (20, 5000, Verdict.FAIL),
        (5, 5000, Verdict.UNDECIDED), (1, 1, Verdict.FAIL),
    ],
)  # fmt: skip
def test_the_verdict_is_that_of_the_binomial_rule(errors: int, n: int, expected: Verdict) -> None:
    assert errors_verdict(errors, n, 0.001) is expected


def test_errors_in_groups_decide_less() -> None:
    assert errors_verdict(1, 10_000, 0.001) is Verdict.PASS
    assert errors_verdict(1, 10_000, 0.001, worth=1000) is Verdict.UNDECIDED
    assert errors_verdict(50, 10_000, 0.001) is Verdict.FAIL
    assert errors_verdict(50, 10_000, 0.001, worth=51) is Verdict.UNDECIDED


@pytest.mark.parametrize(("errors", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_what_is_no_rate(errors: int, n: int) -> None:
    with pytest.raises(ValueError, match="are no rate"):
        error_rate(errors, n)
