"""Downsampling loses no maximum, and every percentile is one that was observed."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import DEADLINE_MS, make_run

from loadtest.report import digest as digest_module
from loadtest.report.digest import Digest, DisorderError, digest
from loadtest.results.run import Run
from loadtest.samples.file import read_samples
from loadtest.samples.record import SAMPLE, Outcome, Samples, counted_us, sent_of


def read(folder: Path) -> Samples:
    return np.array(read_samples(folder / "samples.bin")[1])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Samples]:
    folder = tmp_path_factory.mktemp("digest") / "run"
    run = make_run(folder, failures=9, cancelled=40, mix={"digits": 0.7, "photos": 0.3})
    return run, read(folder)


@pytest.fixture(scope="module")
def found(made: tuple[Run, Samples]) -> Digest:
    return digest(made[1], made[0])


def kept(samples: Samples) -> Samples:
    return samples[samples["outcome"] != Outcome.CANCELLED]


def test_bins_hold_every_request_and_every_maximum(made: tuple[Run, Samples], found: Digest) -> None:
    samples = kept(made[1])
    latencies = counted_us(samples, round(DEADLINE_MS * 1000))
    assert sum(bin_.requests for bin_ in found.bins) == len(samples)
    assert sum(bin_.errors for bin_ in found.bins) == np.count_nonzero(samples["outcome"] != Outcome.OK) == 9
    for bin_ in found.bins:
        inside = (samples["due_us"] >= bin_.start_s * 1e6) & (samples["due_us"] < bin_.end_s * 1e6)
        assert bin_.requests == np.count_nonzero(inside)
        if bin_.requests:
            assert bin_.max_ms == latencies[inside].max() / 1000
            assert bin_.lag_max_us == samples["lag_us"][inside].max()
            assert bin_.p50_ms == np.percentile(latencies[inside], 50, method="inverted_cdf") / 1000
    assert max(bin_.max_ms or 0 for bin_ in found.bins) == latencies.max() / 1000


def test_a_bin_of_few_requests_has_no_p99(made: tuple[Run, Samples], found: Digest) -> None:
    few = digest(made[1][:300], made[0]).bins
    assert any(bin_.requests for bin_ in few)
    assert {bin_.p99_ms for bin_ in few} == {None}
    assert all((bin_.p99_ms is not None) == (bin_.requests >= 100) for bin_ in found.bins)
    assert any(bin_.p99_ms is not None for bin_ in found.bins)


def test_the_curve_is_that_of_what_counts(made: tuple[Run, Samples], found: Digest) -> None:
    run, samples = made
    counted = counted_us(samples[run.warm_up.requests :], round(DEADLINE_MS * 1000))
    assert run.percentiles is not None
    at = dict(found.curve)
    assert at[0.5] == run.percentiles.p50_ms.value
    assert at[0.99] == run.percentiles.p99_ms.value
    assert at[0.999] == np.percentile(counted, 99.9, method="inverted_cdf") / 1000
    assert at[1.0] == counted.max() / 1000 == DEADLINE_MS
    assert list(found.curve) == sorted(found.curve)
    assert set(np.array([ms * 1000 for _, ms in found.curve]).round().astype(int)) <= set(counted)


def test_each_pipeline_has_its_own_curve(made: tuple[Run, Samples], found: Digest) -> None:
    assert list(found.by_pipeline) == ["digits", "photos"]
    for name, curve in found.by_pipeline.items():
        assert dict(curve)[0.99] == made[0].by_pipeline[name].p99_ms.value


def test_an_invalid_run_has_no_latency(made: tuple[Run, Samples]) -> None:
    run, samples = made
    invalid = run.model_copy(update={"validity": run.validity.model_copy(update={"valid": False})})
    found = digest(samples, invalid)
    assert found.curve == ()
    assert found.by_pipeline == {}
    assert {(bin_.p50_ms, bin_.p99_ms, bin_.max_ms) for bin_ in found.bins} == {(None, None, None)}
    assert max(bin_.lag_max_us or 0 for bin_ in found.bins) == kept(samples)["lag_us"].max()


def test_pieces_of_the_file_make_no_difference(
    made: tuple[Run, Samples], found: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest_module, "CHUNK", 777)
    assert digest(made[1], made[0]) == found


def test_samples_out_of_order_are_refused(made: tuple[Run, Samples], monkeypatch: pytest.MonkeyPatch) -> None:
    run, samples = made
    swapped = samples.copy()
    swapped[[5, 6]] = swapped[[6, 5]]
    with pytest.raises(DisorderError):
        digest(swapped, run)
    monkeypatch.setattr(digest_module, "CHUNK", 6)
    with pytest.raises(DisorderError):
        digest(swapped, run)


def test_no_samples(made: tuple[Run, Samples]) -> None:
    assert digest(np.zeros(0, SAMPLE), made[0]) == Digest(0, (), ())


@settings(max_examples=60)
@given(
    due=st.lists(st.integers(0, 90_000_000), min_size=1, max_size=400).map(sorted),
    seed=st.integers(0, 1000),
    warm=st.integers(0, 500),
    most=st.integers(1, 300),
)
def test_any_samples(due: list[int], seed: int, warm: int, most: int, made: tuple[Run, Samples]) -> None:
    rng = np.random.default_rng(seed)
    samples = np.zeros(len(due), SAMPLE)
    samples["due_us"] = due
    samples["latency_us"] = rng.integers(0, 2**32 - 1, len(due), dtype=np.uint32)
    samples["outcome"] = rng.integers(0, 6, len(due))
    samples["pipeline"] = rng.integers(0, 2, len(due))
    run = made[0].model_copy(
        update={"warm_up": made[0].warm_up.model_copy(update={"requests": warm}), "requests": len(due)}
    )
    found = digest(samples, run, most)
    expected = counted_us(sent_of(samples), round(DEADLINE_MS * 1000))
    assert sum(bin_.requests for bin_ in found.bins) == len(expected)
    largest = [bin_.max_ms for bin_ in found.bins if bin_.max_ms is not None]
    assert max(largest, default=0) * 1000 == pytest.approx(max(expected, default=0))
    counted = counted_us(sent_of(samples[warm:]), round(DEADLINE_MS * 1000))
    assert bool(found.curve) == bool(len(counted))
    if len(counted):
        assert found.curve[-1] == (1.0, counted.max() / 1000)


def test_less_is_held_than_the_samples_take(
    made: tuple[Run, Samples], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest_module, "CHUNK", 1 << 14)
    count = 2_000_000
    samples: Samples = np.memmap(tmp_path / "samples", SAMPLE, "w+", shape=(count,))
    samples["due_us"] = np.arange(count) * 100
    samples["latency_us"] = np.arange(count) % 9973
    run = made[0].model_copy(update={"traffic": made[0].traffic.model_copy(update={"mix": {"digits": 1.0}})})
    tracemalloc.start()
    try:
        assert digest(samples, run).samples == count
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 8 * count < peak_bytes < 16 * count < SAMPLE.itemsize * count
