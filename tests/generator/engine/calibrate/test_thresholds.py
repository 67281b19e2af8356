"""Where 8 bits stop: compared with NumPy's percentiles and with onnxruntime's search by entropy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnxruntime.quantization.calibrate import HistogramCollector

from generator.engine.calibrate import thresholds
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


@pytest.fixture
def unbounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entropy as it is published: no range harms more than another."""
    monkeypatch.setattr(thresholds, "squared_errors", lambda _histogram, bins, **_: np.zeros(len(bins)))


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


@pytest.mark.usefixtures("unbounded")
@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform", "outlier"])
def test_entropy_is_near_what_onnxruntime_finds(kind: str) -> None:
    values = drawn(kind)
    most = float(np.abs(values).max())
    collector = HistogramCollector("entropy", True, 2001, 255, 99.99, "same")
    histogram = (*np.histogram(values, 2001, (-most, most)), values.min(), values.max(), most)
    low, high = collector.get_entropy_threshold(histogram, 255)
    ours = entropy_threshold(counted(values), symmetric=True)
    assert ours == pytest.approx(max(abs(float(low)), abs(float(high))), rel=0.4)


@pytest.mark.usefixtures("unbounded")
def test_entropy_cuts_an_outlier_and_nothing_of_a_uniform_tensor() -> None:
    assert entropy_threshold(counted(drawn("outlier")), symmetric=True) < 6
    assert entropy_threshold(counted(drawn("uniform")), symmetric=True) == float(np.abs(drawn("uniform")).max())


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("values", [[0.0, 0.0], [3.0], [-3.0, -3.0, 0.0]])
def test_few_numbers_are_kept_whole(values: list[float], symmetric: bool) -> None:
    assert entropy_threshold(counted(np.array(values, np.float32)), symmetric=symmetric) == max(map(abs, values))


@pytest.mark.usefixtures("unbounded")
@pytest.mark.parametrize("largest", [1.0, 1.01, 1.5, 1.99, 2.01, 3.66])
def test_entropy_never_cuts_below_a_sixteenth_of_the_largest_value(largest: float) -> None:
    small = np.abs(np.random.default_rng(3).laplace(scale=1e-3, size=COUNT))
    values = np.append(small.clip(0, 0.1), largest).astype(np.float32)
    found = entropy_threshold(counted(values), symmetric=True)
    assert largest / 16 <= found < largest / 8


def error_in_8_bits(values: Array, threshold: float, *, symmetric: bool) -> float:
    """The squared error, summed: of 127 steps to each side, or of 255 over what ±threshold leaves of the values."""
    if symmetric:
        step = min(threshold, float(np.abs(values).max())) / 127
        return float(((np.clip(np.rint(values / step), -127, 127) * step - values) ** 2).sum())
    low = max(min(float(values.min()), 0.0), -threshold)
    high = min(max(float(values.max()), 0.0), threshold)
    step = (high - low) / 255
    copies = np.clip(np.rint(values / step), np.ceil(low / step), np.floor(high / step)) * step
    return float(((copies - values) ** 2).sum())


@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform", "relu", "outlier", "scores"])
@pytest.mark.parametrize("share", [1, 2, 8, 16])
@pytest.mark.parametrize("symmetric", [False, True])
def test_squared_errors_are_those_of_the_values(kind: str, share: int, symmetric: bool) -> None:
    values = drawn(kind)
    histogram = counted(values)
    top = int(np.flatnonzero(histogram.counts)[-1]) + 1
    bins = np.array([top // share])
    end = min(float(bins[0]) * histogram.edge / BINS, histogram.largest)
    [found] = squared_errors(histogram, bins, symmetric=symmetric)
    assert found == pytest.approx(error_in_8_bits(values, end, symmetric=symmetric), rel=0.12)


@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform", "relu", "outlier", "scores", "background"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_entropy_does_no_more_harm_than_the_whole_range(kind: str, symmetric: bool) -> None:
    values = drawn(kind)
    histogram = counted(values)
    found = error_in_8_bits(values, entropy_threshold(histogram, symmetric=symmetric), symmetric=symmetric)
    assert found <= 1.1 * error_in_8_bits(values, histogram.largest, symmetric=symmetric)


@pytest.mark.usefixtures("unbounded")
@pytest.mark.parametrize("kind", ["scores", "background"])
def test_entropy_without_a_bound_cuts_off_what_counts(kind: str) -> None:
    values = drawn(kind)
    histogram = counted(values)
    found = entropy_threshold(histogram, symmetric=False)
    assert clipped_share(histogram, found) > 0.001
    whole = error_in_8_bits(values, histogram.largest, symmetric=False)
    assert error_in_8_bits(values, found, symmetric=False) > 10 * whole


@pytest.mark.parametrize("symmetric", [False, True])
def test_entropy_still_cuts_what_costs_less_than_it_brings(symmetric: bool) -> None:
    values = drawn("many")
    histogram = counted(values)
    found = entropy_threshold(histogram, symmetric=symmetric)
    assert found < 0.95 * histogram.largest
    whole = error_in_8_bits(values, histogram.largest, symmetric=symmetric)
    assert error_in_8_bits(values, found, symmetric=symmetric) < whole


def test_what_is_never_negative_is_cut_as_the_steps_of_each_engine_reward_it() -> None:
    """INT8 around zero has half of the steps for it that UINT8 has: finer ones are worth a value that is cut off."""
    values = np.maximum(np.random.default_rng(7).normal(size=200_000), 0).astype(np.float32)
    values = np.append(values, values.max() * np.float32(1.5))
    histogram = counted(values)
    wide, narrow = (entropy_threshold(histogram, symmetric=symmetric) for symmetric in (False, True))
    assert narrow < 0.8 * wide
    errors = [error_in_8_bits(values, threshold, symmetric=True) for threshold in (wide, narrow)]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform", "relu", "outlier"])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 1.7, 3.0, 100.0])
def test_the_share_beyond_a_threshold_is_that_of_the_values(kind: str, threshold: float) -> None:
    values = drawn(kind)
    found = clipped_share(counted(values), threshold)
    assert found == pytest.approx(float((np.abs(values) > threshold).mean()), abs=2e-3)
    assert (found == 0) == (threshold >= np.abs(values).max())
