"""What was never sent, because the run ended, counts nowhere: not in run.json, the curve, or a comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_runs import make_run

from loadtest.report.comparing.compare import compare
from loadtest.report.digest import digest
from loadtest.results.run import read_run
from loadtest.run.asked import Promise
from loadtest.run.judging import judged, percentiles_of, window_of
from loadtest.samples.file import SampleWriter, read_samples
from loadtest.samples.record import Outcome

UNSENT = 400


def with_unsent(folder: Path) -> Path:
    """A run whose last requests were due, and not sent before its end."""
    make_run(folder, requests=8000)
    meta, samples = read_samples(folder / "samples.bin")
    changed = np.array(samples)
    changed["outcome"][-UNSENT:], changed["latency_us"][-UNSENT:] = Outcome.UNSENT, 1_000_000
    with SampleWriter(folder / "samples.bin", {**meta, "cut": False}) as writer:
        writer.append(changed)
    run = read_run(folder)
    outcomes = {"ok": len(samples) - UNSENT, "unsent": UNSENT}
    (folder / "run.json").write_text(run.model_copy(update={"outcomes": outcomes}).model_dump_json())
    return folder


def test_one_rule_for_the_record_the_curve_and_the_comparison(tmp_path: Path) -> None:
    folder = with_unsent(tmp_path / "run")
    run, samples = read_run(folder), read_samples(folder / "samples.bin")[1]
    deadline_us = round(run.traffic.deadline_ms * 1000)
    window = window_of(samples, run.warm_up.requests)
    told = percentiles_of(window.samples, deadline_us)
    assert told is not None
    assert told.p99_ms.value < 1000
    assert (
        judged(window, {"p0": Promise(1e4)}, deadline_us, []).requests == len(samples) - UNSENT - run.warm_up.requests
    )
    found = digest(samples, run)
    assert dict(found.curve)[0.99] == told.p99_ms.value
    assert sum(one.requests for one in found.bins) == len(samples) - UNSENT
    assert sum(one.errors for one in found.bins) == 0
    [p99] = [one for one in compare(folder, folder, 0.05).measures if one.name == "p99"]
    assert p99.a == p99.b == pytest.approx(told.p99_ms.value)
