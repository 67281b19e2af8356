"""Where 8 bits stop: compared with NumPy's percentiles and with onnxruntime's search by entropy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnxruntime.quantization.calibrate import HistogramCollector

from generator.engine.calibrate.histogram import BINS, Histogram
from generator.engine.calibrate.thresholds import (
    clipped_share,
    entropy_threshold,
    percentile_threshold,
    squared_errors,
)

Array = np.ndarray[Any, Any]
COUNT = 20_000


def drawn(kind: str) -> Array:
    rng = np.random.default_rng(7)
    draw: dict[str, Any] = {
        "normal": lambda: rng.normal(size=COUNT),
        "laplace": lambda: rng.laplace(size=COUNT),
        "uniform": lambda: rng.uniform(-1, 1, COUNT),
        "relu": lambda: np.maximum(rng.normal(size=COUNT), 0),
        "outlier": lambda: np.append(rng.normal(size=COUNT), 40),
        # A detector's scores, nearly all of them tiny; and one image's background with something bright on it.
        "scores": lambda: np.append(rng.exponential(1e-3, COUNT), rng.uniform(0.3, 1, 40)),
        "background": lambda: np.append(rng.normal(-0.11, 0.01, COUNT), rng.uniform(-1.5, 3.7, COUNT // 10)),
        "many": lambda: rng.normal(size=50 * COUNT),
    }
    values: Array = draw[kind]().astype(np.float32)
    return values


def counted(values: Array) -> Histogram:
    histogram = Histogram()
    histogram.add(values)
    return histogram


@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform", "relu", "outlier"])
@pytest.mark.parametrize("percent", [60, 90, 99, 99.9, 100])
def test_percentiles_are_those_of_numpy_to_a_bin(kind: str, percent: float) -> None:
    values = drawn(kind)
    histogram = counted(values)
    found, width = percentile_threshold(histogram, percent), histogram.edge / BINS
    # Where that many values lie exactly below, everything up to the next value is right.
    low, high = (np.percentile(np.abs(values), percent, method=m) for m in ("lower", "higher"))
    assert low - width <= found <= high + width


def test_a_percentile_of_all_is_the_extent() -> None:
    values = drawn("normal")
    assert percentile_threshold(counted(values), 100) == float(np.abs(values).max())


def test_a_percentile_among_the_zeros() -> None:
    assert percentile_threshold(counted(np.array([0, 0, 0, 1], np.float32)), 75) == 0


@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform", "outlier"])
def test_entropy_is_near_what_onnxruntime_finds(kind: str) -> None:
    values = drawn(kind)
    most = float(np.abs(values).max())
    collector = HistogramCollector("entropy", True, 2001, 255, 99.99, "same")
    histogram = (*np.histogram(values, 2001, (-most, most)), values.min(), values.max(), most)
    low, high = collector.get_entropy_threshold(histogram, 255)
    ours = entropy_threshold(counted(values))
    assert ours == pytest.approx(max(abs(float(low)), abs(float(high))), rel=0.4)


def test_entropy_cuts_an_outlier_and_nothing_of_a_uniform_tensor() -> None:
    assert entropy_threshold(counted(drawn("outlier"))) < 6
    assert entropy_threshold(counted(drawn("uniform"))) == float(np.abs(drawn("uniform")).max())


@pytest.mark.parametrize("values", [[0.0, 0.0], [3.0], [-3.0, -3.0, 0.0]])
def test_few_numbers_are_kept_whole(values: list[float]) -> None:
    assert entropy_threshold(counted(np.array(values, np.float32))) == max(map(abs, values))


@pytest.mark.parametrize("largest", [1.0, 1.01, 1.5, 1.99, 2.01, 3.66])
def test_entropy_never_cuts_below_a_sixteenth_of_the_largest_value(largest: float) -> None:
    small = np.abs(np.random.default_rng(3).laplace(scale=1e-3, size=COUNT))
    found = entropy_threshold(counted(np.append(small.clip(0, 0.1), largest).astype(np.float32)))
    assert largest / 16 <= found < largest / 8


def error_in_8_bits(values: Array, threshold: float) -> float:
    """The squared error of 255 steps over what ±threshold leaves of the values' range, zero among them, summed."""
    low = max(min(float(values.min()), 0.0), -threshold)
    high = min(max(float(values.max()), 0.0), threshold)
    step = (high - low) / 255
    copies = np.clip(np.rint(values / step), np.ceil(low / step), np.floor(high / step)) * step
    return float(((copies - values) ** 2).sum())


@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform", "relu", "outlier", "scores"])
@pytest.mark.parametrize("share", [1, 2, 8, 16])
def test_squared_errors_are_those_of_the_values(kind: str, share: int) -> None:
    values = drawn(kind)
    histogram = counted(values)
    top = int(np.flatnonzero(histogram.counts)[-1]) + 1
    bins = np.array([top // share])
    end = min(float(bins[0]) * histogram.edge / BINS, histogram.largest)
    assert squared_errors(histogram, bins)[0] == pytest.approx(error_in_8_bits(values, end), rel=0.12)


@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform", "relu", "outlier", "scores", "background"])
def test_bounded_entropy_does_no_more_harm_than_the_whole_range(kind: str) -> None:
    values = drawn(kind)
    histogram = counted(values)
    found = entropy_threshold(histogram, bounded=True)
    assert found >= entropy_threshold(histogram)
    assert error_in_8_bits(values, found) <= 1.1 * error_in_8_bits(values, histogram.largest)


@pytest.mark.parametrize("kind", ["scores", "background"])
def test_entropy_without_a_bound_cuts_off_what_counts(kind: str) -> None:
    values = drawn(kind)
    histogram = counted(values)
    assert clipped_share(histogram, entropy_threshold(histogram)) > 0.001
    assert error_in_8_bits(values, entropy_threshold(histogram)) > 10 * error_in_8_bits(values, histogram.largest)


def test_bounded_entropy_still_cuts_what_costs_less_than_it_brings() -> None:
    values = drawn("many")
    histogram = counted(values)
    found = entropy_threshold(histogram, bounded=True)
    assert found < 0.95 * histogram.largest
    assert error_in_8_bits(values, found) < error_in_8_bits(values, histogram.largest)


@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform", "relu", "outlier"])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 1.7, 3.0, 100.0])
def test_the_share_beyond_a_threshold_is_that_of_the_values(kind: str, threshold: float) -> None:
    values = drawn(kind)
    found = clipped_share(counted(values), threshold)
    assert found == pytest.approx(float((np.abs(values) > threshold).mean()), abs=2e-3)
    assert (found == 0) == (threshold >= np.abs(values).max())
