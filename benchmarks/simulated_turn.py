"""The files that a turn of a sweep leaves behind, of latencies that were simulated: run.json and samples.bin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.results.run import JudgementRecord, Made, Run, Split, Traffic, Validity, WarmUp
from loadtest.samples.file import SampleWriter
from loadtest.samples.record import SAMPLE

MEMBER = "toy_engine"
MADE = Made(command="tritonkit load sweep toy.yaml", started="2026-01-01T00:00:00+00:00", spec="toy.yaml",
            spec_sha256="0" * 64, target="embedded")  # fmt: skip
_UNDECIDED = JudgementRecord(
    verdict="undecided", why="", requests=0, over=0, worth=0, by_binomial="undecided", needed=0
)


def write_turn(
    folder: Path, due_us: Any, latency_us: Any, rate_rps: float, *, batch_sizes: Mapping[int, int],
    invalid: str | None = None,
) -> Run:  # fmt: skip
    """Writes both to a new `folder`. Due times and latencies are [n]; `invalid` says why it cannot be believed."""
    folder.mkdir(parents=True)
    samples = np.zeros(len(due_us), SAMPLE)
    samples["due_us"], samples["latency_us"], samples["status"] = due_us, latency_us, 200
    with SampleWriter(folder / "samples.bin", {}) as writer:
        writer.append(samples)
    executions = sum(batch_sizes.values())
    run = Run(
        pipeline="toy", objective=None, percentiles=None, judgement=_UNDECIDED,
        validity=Validity(valid=invalid is None, reasons=[] if invalid is None else [invalid], lag_p50_us=0,
                          lag_p99_us=0, lag_max_us=0, lag_bound_us=1000, busiest_core=0, busiest_core_bound=0.7,
                          gc_pauses=0, gc_longest_us=0, clock_resolution_ns=1, waited_for_connection=0, senders=1),
        warm_up=WarmUp(requests=0, seconds=0, found_by="told"), requests=len(due_us), counted=len(due_us),
        outcomes={"ok": len(due_us)}, achieved_rps=rate_rps, wall_s=float(due_us[-1]) / 1e6,
        traffic=Traffic(drawn={}, mix={"toy": 1.0}, protocol="http", client="raw", rate_rps=rate_rps,
                        deadline_ms=1000, payloads={"toy": 1}),
        splits=[Split(model=MEMBER, requests=len(due_us), executions=executions,
                      mean_batch=len(due_us) / executions, queue_us=1, input_us=1, compute_us=1, output_us=1,
                      batch_sizes=dict(batch_sizes))],
        made=MADE.model_copy(update={"effective": {MEMBER: {"name": MEMBER}}}),
    )  # fmt: skip
    (folder / "run.json").write_text(run.model_dump_json())
    return run
