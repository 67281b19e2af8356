"""What a run says of itself: one interval of its p99 everywhere, and what of its requests counts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import samples_of

from loadtest.results.run import Run, read_run
from loadtest.run.asked import Asked, Promise
from loadtest.run.judging import both_ends, in_three, judged, percentiles_of, window_of
from loadtest.run.serving import Serving
from loadtest.run.session import Session
from loadtest.samples.file import SampleWriter
from loadtest.samples.record import SAMPLE, Outcome, Samples
from loadtest.sender.orders import SenderReport
from loadtest.traffic.schedule import Schedule

NOBODY = "127.0.0.1:9"
REPORT = SenderReport(
    pid=1, started_unix_ns=0, wall_s=30.0, cpu_s=0.1, busiest_core=0.1, gc_pauses=0, gc_longest_us=0,
    clock_resolution_ns=50, connections_opened=1, waited_for_connection=0,
)  # fmt: skip


def judged_run(folder: Path, samples: Samples, *, confidence: float = 0.99, **promises: float) -> Run:
    """Of samples as if senders had left them; no server tells anything."""
    sent = folder / "sent.bin"
    with SampleWriter(sent, {}) as writer:
        writer.append(samples)
    mix = dict.fromkeys(promises, 1.0)
    asked = Asked({name: Promise(bound) for name, bound in promises.items()}, mix, 500.0, 30.0, lag_bound_ms=60_000)
    session = Session(asked, Serving((), folder, NOBODY, NOBODY, "embedded"), {}, folder / "run")
    session.begin()
    due = samples["due_us"].astype(np.int64) * 1000
    schedule = Schedule(due, samples["pipeline"], samples["payload"], {"kind": "poisson", "duration_s": 30.0})
    session.add(schedule, [sent], [REPORT], lead_us=0)
    return session.result(confidence=confidence)


@pytest.mark.parametrize(("bound_ms", "verdict"), [(100.0, "pass"), (1.0, "fail"), (None, "undecided")])
def test_the_sentence_and_the_table_have_one_interval(tmp_path: Path, bound_ms: float | None, verdict: str) -> None:
    samples = samples_of(3, 15_000, warm_s=0.001)
    if bound_ms is None:
        bound_ms = float(np.percentile(samples["latency_us"], 99)) / 1000
    run = judged_run(tmp_path, samples, digits=bound_ms)
    assert run.percentiles is not None
    p99, why = run.percentiles.p99_ms, run.judgement.why
    assert (p99.confidence, run.judgement.confidence) == (pytest.approx(0.98), 0.99)
    low, high = in_three(p99.low), in_three(p99.high)
    said = {
        "pass": f"it is {high} ms at most, at 99 % confidence (one-sided)",
        "fail": f"it is {low} ms at least, at 99 % confidence (one-sided)",
        "undecided": f"it lies in {low} to {high} ms at 98 % confidence (two-sided)",
    }
    assert said[verdict] in why or (verdict == "pass" and "errors do not prove" in why), why
    assert read_run(tmp_path / "run") == run


def test_a_surer_look_has_wider_intervals(tmp_path: Path) -> None:
    samples = samples_of(3, 15_000, warm_s=0.001)
    run = judged_run(tmp_path, samples, confidence=0.999, digits=1.0)
    assert run.percentiles is not None
    assert run.percentiles.p99_ms.confidence == pytest.approx(0.998)
    assert f"it is {in_three(run.percentiles.p99_ms.low)} ms at least, at 99.9 % confidence" in run.judgement.why


def test_each_pipeline_has_the_interval_of_its_own_bound(tmp_path: Path) -> None:
    run = judged_run(tmp_path, samples_of(3, 15_000, warm_s=0.001, pipelines=2), digits=1.0, photos=100.0)
    low = in_three(run.by_pipeline["digits"].p99_ms.low)
    assert run.judgement.why.startswith(f"digits: The p99 is over 1 ms: it is {low} ms at least")


def test_the_interval_of_errors_is_the_one_that_the_verdict_rests_on() -> None:
    samples = samples_of(3, 15_000, warm_s=0.001, failures=120)
    found = judged(window_of(samples, 0), {"digits": Promise(5000.0)}, 10_000_000, [])
    assert found.error_rate is not None
    assert found.error_rate.confidence == pytest.approx(both_ends(0.99))
    told = re.search(r"at least ([\d.]+) %, at 99 % confidence \(one-sided\)", found.why)
    assert told is not None, found.why
    assert float(told[1]) == pytest.approx(100 * found.error_rate.low, rel=1e-3)


def test_what_was_cancelled_does_not_count(tmp_path: Path) -> None:
    samples = samples_of(3, 15_000, warm_s=0.001, cancelled=400)
    samples["outcome"][-30:] = Outcome.UNSENT
    run = judged_run(tmp_path, samples, digits=100.0)
    kept = samples[(samples["outcome"] != Outcome.CANCELLED) & (samples["outcome"] != Outcome.UNSENT)]
    assert run.requests == 15_000
    assert run.counted == len(kept) - run.warm_up.requests == run.judgement.requests
    rest = run.requests - run.counted - run.warm_up.requests
    assert run.left_out.endswith(f"{rest:,} cancelled on purpose or never sent")


def record(**changed: Any) -> Run:
    """What counts alone."""
    warm = changed.pop("warm", 0)
    return Run.model_construct(warm_up=type("W", (), {"requests": warm})(), **changed)


@pytest.mark.parametrize(("changed", "words"), [
    ({"requests": 100, "counted": 100, "outcomes": {"ok": 100}}, ""),
    ({"requests": 100, "counted": 80, "warm": 20, "outcomes": {"ok": 100}}, "20 of the warm-up"),
    ({"requests": 100, "counted": 75, "warm": 20, "outcomes": {"cancelled": 5}}, "20 of the warm-up, 5 cancelled on purpose"),
    ({"requests": 1100, "counted": 100, "outcomes": {"unsent": 1000}}, "1,000 never sent"),
    ({"requests": 100, "counted": 120, "warm": 20, "outcomes": {}}, ""),
])  # fmt: skip
def test_what_is_left_out_in_words(changed: dict[str, Any], words: str) -> None:
    assert record(**changed).left_out == words


def test_without_a_bound_it_is_the_run_s_own() -> None:
    samples = np.zeros(5000, SAMPLE)
    samples["latency_us"] = np.arange(5000)
    told = percentiles_of(samples, 1_000_000)
    assert told is not None
    assert told.p99_ms.value == pytest.approx(4.949)
    assert told.p99_ms.low < told.p99_ms.value < told.p99_ms.high
