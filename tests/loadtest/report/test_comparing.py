"""Two runs of the same thing do not differ; one that is slower is a regression, and what else differs is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import make_run, make_sweep

from generator.problems import ProblemsError
from loadtest.report.comparing.compare import compare
from loadtest.report.comparing.throughput import ratio
from loadtest.results.run import Run
from loadtest.samples.record import SAMPLE


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("compare")
    make_run(root / "a", seed=1, requests=40_000)
    make_run(root / "again", seed=2, requests=40_000)
    make_run(root / "slower", seed=3, requests=40_000, service_us=1080.0)
    make_run(root / "short", seed=4, requests=1500, warm_s=0.5)
    make_run(root / "late", seed=5, requests=2000, lag_us=1800.0)
    return root


def record(folder: Path) -> Run:
    return Run.model_validate_json((folder / "run.json").read_text())


def test_the_same_thing_twice_is_no_regression(places: Path) -> None:
    found = compare(places / "a", places / "again", 0.15)
    assert found.verdict == "no difference"
    assert not found.is_regression
    assert found.warnings == ()
    assert [measure.name for measure in found.measures] == ["p99", "p50", "throughput"]
    for measure in found.measures:
        assert measure.ratio.low <= 1 <= measure.ratio.high
        assert measure.ratio.value == pytest.approx(measure.b / measure.a)


def test_the_same_run_with_itself(places: Path) -> None:
    found = compare(places / "a", places / "a", 0.2)
    assert found.verdict == "no difference"
    assert {measure.ratio.value for measure in found.measures} == {1.0}
    assert all(measure.told for measure in found.measures)
    assert found.sentence == "no difference: p99, p50 and throughput are within 20 %"


def test_slower_is_worse_and_faster_is_better(places: Path) -> None:
    worse = compare(places / "a", places / "slower", 0.05)
    assert worse.verdict == "worse"
    assert worse.is_regression
    assert worse.measures[0].verdict == "worse"
    assert worse.measures[0].ratio.low > 1.05
    assert worse.sentence.startswith("worse: p99 +")
    better = compare(places / "slower", places / "a", 0.05)
    assert better.verdict == "better"
    assert not better.is_regression
    assert better.sentence.startswith("better: p99 -")


def test_figures_are_those_of_the_records(places: Path) -> None:
    found = compare(places / "a", places / "slower", 0.05)
    for side, folder in (("a", "a"), ("b", "slower")):
        told = record(places / folder).percentiles
        assert told is not None
        assert getattr(found.measures[0], side) == told.p99_ms.value
        assert getattr(found.measures[1], side) == told.p50_ms.value
        assert getattr(found.measures[2], side) == pytest.approx(record(places / folder).achieved_rps, rel=0.02)


def test_a_large_threshold_allows_it(places: Path) -> None:
    assert compare(places / "a", places / "slower", 0.9).verdict == "no difference"


def test_a_short_run_cannot_tell(places: Path) -> None:
    found = compare(places / "a", places / "short", 0.05)
    assert found.verdict == "no difference"
    assert not found.measures[0].told
    assert found.sentence.startswith("no difference can be told: p99")


def test_less_throughput_is_worse() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(500, 20, 256), rng.normal(440, 20, 256)
    found = ratio(a, b, 0.99)
    assert found.low < 0.88 < found.high < 0.9
    assert ratio(a, a, 0.99).value == 1.0


def test_the_interval_of_throughput_holds_the_truth() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        a, b = (np.convolve(rng.normal(100, 10, 260), np.ones(5) / 5, "valid") for _ in range(2))
        found = ratio(a, b, 0.99)
        held += found.low <= 1 <= found.high
    assert held >= 190


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "spec": ({"made.spec_sha256": "aa" * 32}, "The spec differs: sha256 4f4f4f4f4f4f and aaaaaaaaaaaa."),
    "target": ({"made.target": "production"}, "The target differs: embedded and production."),
    "machine": ({"made.machine.cores": 2}, "The machine differs: cores 8 and 2."),
    "server": ({"made.server.version": "2.60.0"}, "The server differs: version 2.51.0 and 2.60.0."),
    "effective": (
        {"made.effective.digits_engine.max_batch_size": 8},
        "The effective configuration differs: digits_engine.max_batch_size 32 and 8.",
    ),
    "rate": ({"traffic.rate_rps": 600.0}, "The rate differs: 500 and 600 requests/s."),
    "payloads": ({"traffic.payload_bytes.digits": [10]}, "The payloads differ: bytes.digits 3148 and 10."),
    "mix": ({"traffic.mix.digits": 0.5}, "The mix of pipelines differs: digits 1 and 0.5."),
    "arrivals": ({"traffic.drawn.kind": "burst"}, "The arrivals differ: kind poisson and burst."),
    "protocol": ({"traffic.protocol": "grpc"}, "The way of sending differs: protocol http and grpc."),
    "seed": ({"traffic.drawn.seed": 9}, ""),
    "looks": ({"traffic.options": {"segments": 3}}, ""),
    "senders": ({"traffic.options": {"senders": 2}}, "The way of sending differs: senders 1 and 2."),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_else_differs_is_said(places: Path, tmp_path: Path, case: str) -> None:
    changes, sentence = CHANGES[case]
    data = json.loads((places / "a" / "run.json").read_text())
    for path, value in changes.items():
        *parents, last = path.split(".")
        inside = data
        for key in parents:
            inside = inside[key]
        inside[last] = value
    other = tmp_path / "other"
    other.mkdir()
    (other / "run.json").write_text(json.dumps(data))
    (other / "samples.bin").symlink_to(places / "a" / "samples.bin")
    found = compare(places / "a", other, 0.2)
    assert list(found.warnings) == ([sentence] if sentence else [])


def with_record(places: Path, folder: Path, **traffic: Any) -> Path:
    """The run `a` with another record of its traffic."""
    data = json.loads((places / "a" / "run.json").read_text())
    data["traffic"] |= traffic
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(data))
    (folder / "samples.bin").symlink_to(places / "a" / "samples.bin")
    return folder


def test_at_other_rates_throughput_has_no_verdict(places: Path, tmp_path: Path) -> None:
    """More was asked for, so more was answered: that is no merit of the server."""
    make_run(tmp_path / "more", seed=6, requests=40_000, rate=900.0)
    found = compare(places / "a", tmp_path / "more", 0.05)
    throughput = found.measures[2]
    assert (throughput.compared, throughput.told, throughput.verdict) == (False, False, "no difference")
    assert throughput.ratio.low > 1.05
    assert "throughput" not in found.sentence.partition(";")[0]
    assert found.sentence.endswith("; throughput is not compared: other rates were asked for")
    assert "The rate differs: 500 and 900 requests/s." in found.warnings


def test_what_is_not_compared_leaves_nothing_undecided(places: Path, tmp_path: Path) -> None:
    found = compare(places / "a", with_record(places, tmp_path / "other", rate_rps=600.0), 0.2)
    assert found.is_decided
    assert found.sentence == (
        "no difference: p99 and p50 are within 20 %; throughput is not compared: other rates were asked for"
    )


def test_the_mean_of_a_shape_is_its_rate(places: Path, tmp_path: Path) -> None:
    drawn = {"kind": "burst", "seed": 1, "rate_rps": 500.0, "mean_rps": 700.0}
    found = compare(places / "a", with_record(places, tmp_path / "burst", drawn=drawn), 0.2)
    assert not found.measures[2].compared
    trace = with_record(places, tmp_path / "trace", drawn={"kind": "trace", "mean_rps": 500.0}, rate_rps=None)
    assert compare(places / "a", trace, 0.2).measures[2].compared


def test_two_pipelines_are_not_compared(places: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "photos", requests=3000, mix={"photos": 1.0})
    assert refusal(places / "a", tmp_path / "photos") == (
        "TK898",
        f"this is a run of `photos`, and {places / 'a'} is one of `digits`: neither is better or worse than the other",
    )


def refusal(a: Path, b: Path) -> tuple[str, str]:
    with pytest.raises(ProblemsError) as error:
        compare(a, b, 0.05)
    [problem] = error.value.problems
    return problem.code, problem.message


def test_an_invalid_run_is_refused(places: Path) -> None:
    code, message = refusal(places / "a", places / "late")
    assert code == "TK895"
    assert "the bound is 500 µs" in message


def test_a_sweep_is_refused(places: Path, tmp_path: Path) -> None:
    make_sweep(tmp_path / "sweep", over={"max_queue_delay_us": [0]}, turns=1)
    assert refusal(tmp_path / "sweep", places / "a")[0] == "TK896"


def test_few_or_missing_samples_are_refused(places: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "few", requests=800)
    assert refusal(tmp_path / "few", places / "a")[0] == "TK894"
    make_run(tmp_path / "cut", requests=3000)
    file = tmp_path / "cut" / "samples.bin"
    file.write_bytes(file.read_bytes()[:-2400])
    assert refusal(places / "a", tmp_path / "cut") == ("TK893", "2,900 of 3,000 samples are there")


def test_samples_out_of_order_are_refused(places: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "mixed", requests=3000)
    file = tmp_path / "mixed" / "samples.bin"
    data, size = file.read_bytes(), SAMPLE.itemsize
    body = len(data) - 3000 * size
    file.write_bytes(data[:body] + data[body + 100 * size :] + data[body : body + 100 * size])
    code, message = refusal(places / "a", tmp_path / "mixed")
    assert (code, message) == ("TK893", "the samples are not in the order in which they were due")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("warm_up", "requests"), -5),
        (("traffic", "deadline_ms"), 1e300),
        (("traffic", "deadline_ms"), 0),
        (("requests",), -1),
        (("achieved_rps",), -3.5),
        (("validity", "lag_p99_us"), -1),
        (("judgement", "confidence"), 1.5),
    ],
)
def test_a_record_that_no_run_can_have_is_refused(
    path: tuple[str, ...], value: float, places: Path, tmp_path: Path
) -> None:
    make_run(tmp_path / "made", requests=1000)
    file = tmp_path / "made" / "run.json"
    whole = json.loads(file.read_text())
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    file.write_text(json.dumps(whole))
    code, message = refusal(places / "a", tmp_path / "made")
    assert code.startswith("TK89"), code
    assert path[-1] in message


def test_as_json(places: Path) -> None:
    data = json.loads(json.dumps(compare(places / "a", places / "slower", 0.05).as_json(), allow_nan=False))
    assert data["regression"] is True
    assert data["verdict"] == "worse"
    assert set(data["measures"][0]["ratio"]) == {"value", "low", "high", "confidence"}
