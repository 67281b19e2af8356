"""Counting absolute values: what comes out does not depend on how the values come in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.engine.calibrate.histogram import BINS, Extent, Histogram

FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)


def counted(*batches: list[float]) -> Histogram:
    histogram = Histogram()
    for batch in batches:
        histogram.add(np.array(batch, np.float32))
    return histogram


@given(st.lists(FLOATS, min_size=1, max_size=60), st.randoms())
def test_order_and_batches_do_not_matter(values: list[float], random: object) -> None:
    mixed = list(values)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    cut = len(mixed) // 3
    one, other = counted(values), counted(mixed[:cut], mixed[cut:])
    assert one.edge == other.edge
    assert one.zeros == other.zeros
    np.testing.assert_array_equal(one.counts, other.counts)
    assert (one.least, one.greatest) == (other.least, other.greatest) == (min(values), max(values))


@given(st.lists(FLOATS, min_size=1, max_size=60))
def test_the_bins_are_those_of_numpy(values: list[float]) -> None:
    histogram = counted(*[[v] for v in values])
    sizes = np.abs(np.array(values, np.float32)).astype(np.float64)
    sizes = sizes[sizes > 0]
    assert histogram.zeros == len(values) - sizes.size
    if sizes.size:
        assert histogram.edge / 2 <= sizes.max() < histogram.edge
        np.testing.assert_array_equal(histogram.counts, np.histogram(sizes, BINS, (0, histogram.edge))[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [Extent, Histogram])
def test_what_is_not_finite_is_remembered(kind: type[Extent], bad: float) -> None:
    extent = kind()
    extent.add(np.array([1.0, bad], np.float32))
    extent.add(np.array([2.0], np.float32))
    assert not extent.finite
    assert extent.seen


def test_nothing_at_all() -> None:
    histogram = counted([])
    assert not histogram.seen
    assert histogram.finite
