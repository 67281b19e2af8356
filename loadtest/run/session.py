"""A load test from its first request to run.json, whoever drives it: what was collected, merged, believed, judged."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from generator.whole_file import write_whole
from loadtest.machine import machine
from loadtest.results.run import (
    RUN_FILE,
    SAMPLES_FILE,
    Made,
    Objective,
    Percentiles,
    Run,
    Split,
    Traffic,
    WarmUp,
)
from loadtest.run import as_planned, splits
from loadtest.run.interrupts import INTERRUPTED, Noted
from loadtest.run.judging import AS_PROMISED, both_ends, judged, percentiles_of, window_of
from loadtest.run.preflight import configs
from loadtest.run.writing import SEGMENT, unwritable
from loadtest.samples.file import SampleWriter, read_samples
from loadtest.samples.merge import merge
from loadtest.samples.record import Outcome
from loadtest.truth import machine_use, warm_up
from loadtest.truth.guards import bounds_of, validity

if TYPE_CHECKING:
    from loadtest.run.asked import Asked
    from loadtest.run.judging import Window
    from loadtest.run.serving import Serving
    from loadtest.samples.record import Samples
    from loadtest.sender.orders import SenderReport
    from loadtest.traffic.payloads import Payloads
    from loadtest.traffic.schedule import Schedule

PACKAGES = ("nvidia-pytriton", "onnxruntime", "numpy", "scipy", "tritonclient", "tritonkit")
LOST_COUNT = "the server has counted less than it answered: it was restarted, and where time went is not known"
NO_STATISTICS = "the server shows no statistics, so nothing is known of where time went"
NO_CONFIGURATIONS = "the server's configurations cannot be read, so what it serves is not known"
SETTLING = frozenset({"poisson", "constant"})
"""Arrivals that are the same from beginning to end: in all others, what changes may be the traffic itself."""
_CHUNK = 1 << 18


@dataclass
class Session:
    """Of one run in `folder`. `begin` before anything is sent, `add` what a segment's senders left, then `result`."""

    asked: Asked
    serving: Serving
    payloads: Mapping[str, Payloads]
    folder: Path
    about: Mapping[str, Any] = field(default_factory=dict)
    reports: list[SenderReport] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    drawn: dict[str, Any] = field(default_factory=dict)
    noted: Noted = field(default_factory=Noted)
    _parts: list[Path] = field(default_factory=list)
    _end_us: int = 0
    _segments: int = 0
    _let_go: list[Samples] = field(default_factory=list)

    @property
    def segments(self) -> int:
        """How many were added."""
        return self._segments

    def begin(self) -> None:
        """Reads what the server has counted so far, and whether it serves what the specs say.

        Raises ProblemsError when the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / RUN_FILE).unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        self._before, self._effective = None, {}
        try:
            self._before = splits.read(self.serving.http_address)
        except (OSError, ValueError) as error:
            self.warnings.append(f"{NO_STATISTICS}: {error}")
        try:
            self._effective = configs(self.serving)
        except OSError as error:
            self.warnings.append(f"{NO_CONFIGURATIONS}: {error}")
        else:
            if not self.serving.pids:  # one of its own was rendered from these plans
                self.warnings += as_planned.differences(self.serving.plans, self._effective, self.serving.target)
        self._machine = machine_use.read_times()
        self._began, self._started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")

    def add(
        self, schedule: Schedule, paths: Sequence[Path], reports: Sequence[SenderReport], *, lead_us: int
    ) -> None:
        """What one segment's senders left. Of all but the first, what was due in the first `lead_us` is let go.

        Then the run's time goes on where the segment before ended, as if there had been no gap.
        Raises ProblemsError when samples cannot be written.
        """
        self.reports += reports
        if not self._segments:
            self.drawn = dict(schedule.drawn)
        try:
            for path in paths:
                self._parts.append(path if not self._segments else self._moved(path, lead_us))
        except OSError as error:
            raise unwritable(self.folder, error) from error
        whole_us = round(float(schedule.drawn.get("duration_s") or schedule.duration_s) * 1e6)
        self._end_us += whole_us - (lead_us if self._segments else 0)
        self._segments += 1

    def _moved(self, path: Path, lead_us: int) -> Path:
        """A copy of the samples without the lead-in, in the time of the run."""
        out = path.with_name(f"{path.name}.moved")
        meta, samples = read_samples(path)
        with SampleWriter(out, meta) as writer:
            for first in range(0, len(samples), _CHUNK):
                records = np.array(samples[first : first + _CHUNK])
                lead_in = records["due_us"] < lead_us
                self._let_go.append(records[lead_in])
                records = records[~lead_in]
                records["due_us"] = records["due_us"].astype(np.int64) - lead_us + self._end_us
                writer.append(records)
        return out

    def result(self, *, stopped: str | None = None, confidence: float | None = None) -> Run:
        """Merges everything so far, judges it and writes run.json. Raises ProblemsError when it cannot be written."""
        asked, out = self.asked, self.folder / SAMPLES_FILE
        sure = confidence or asked.confidence
        try:
            merge(self._parts, out, {"pipelines": list(asked.pipelines), "deadline_us": asked.deadline_us})
            _, samples = read_samples(out)
            run = self._run(samples, stopped, sure)
            self._write(run)
        except OSError as error:
            raise unwritable(self.folder, error, self._parts) from error
        return run

    def mark(self, run: Run, stopped: str) -> None:
        """Says in run.json that more was to come after the last `result`. Raises ProblemsError."""
        try:
            self._write(run.model_copy(update={"stopped": stopped}))
        except OSError as error:
            raise unwritable(self.folder, error) from error

    def _write(self, run: Run) -> None:
        write_whole(self.folder / RUN_FILE, run.model_dump_json(indent=1) + "\n")

    def forget(self) -> None:
        """Nothing was sent: the folder is free for another run."""
        for name in (RUN_FILE, SAMPLES_FILE):
            (self.folder / name).unlink(missing_ok=True)

    def tidy(self, before: float = math.inf) -> None:
        """Removes what the senders had: all of their samples are in the run's own file now.

        `before` is the first segment of which that is not so.
        """
        for folder in self.folder.glob(f"{SEGMENT}*"):
            number = folder.name.removeprefix(SEGMENT)
            if number.isdecimal() and int(number) < before:  # what else is there is not ours
                shutil.rmtree(folder, ignore_errors=True)

    def _run(self, samples: Samples, stopped: str | None, confidence: float) -> Run:
        asked = self.asked
        found = self._warm_up(samples)
        window = window_of(samples, found.index, found.how if found.too_long else "")
        bound_ms = min(promise.p99_ms for promise in asked.promises.values())
        used = machine_use.use_between(self._machine, machine_use.read_times()) if self._is_here() else None
        believed = validity(window.samples, self.reports, bounds_of(bound_ms, asked.lag_bound_ms), machine=used)
        judgement = judged(
            window, asked.promises, asked.deadline_us, believed.reasons, confidence, sent_rps=self._meant(window)
        )
        if stopped and judgement.verdict == "pass":
            why = f"Whether the objective holds is not known: the run was stopped early ({stopped}); so far it held."
            judgement = judgement.model_copy(update={"verdict": "undecided", "why": why})
        counts = np.bincount(samples["outcome"], minlength=len(Outcome)) if len(samples) else [0] * len(Outcome)
        outcomes = {outcome.name.lower(): int(counts[outcome]) for outcome in Outcome if counts[outcome]}
        parts, outside_us = self._split(samples)
        warnings = [*believed.warnings, *self.warnings, *self._notes(window)]
        if not found.settled:
            warnings.append("the latencies never came to rest: the warm-up may not be over at the end")
        believed = believed.model_copy(update={"warnings": warnings})
        percentiles, by_pipeline = self._percentiles(window, confidence) if believed.valid else (None, {})
        return Run(
            pipeline="+".join(asked.pipelines), objective=self._objective(), judgement=judgement,
            percentiles=percentiles, by_pipeline=by_pipeline, validity=believed,
            warm_up=_record_of(found, samples),
            requests=len(samples), counted=int(np.count_nonzero(window.samples["outcome"] != Outcome.CANCELLED)),
            outcomes=outcomes, achieved_rps=window.achieved_rps, wall_s=time.monotonic() - self._began,
            traffic=self._traffic(), splits=parts,
            outside_us=outside_us if believed.valid else None, errors=self._errors(), stopped=stopped,
            made=self._made(),
        )  # fmt: skip

    def _percentiles(
        self, window: Window, confidence: float
    ) -> tuple[Percentiles | None, dict[str, Percentiles]]:  # fmt: skip
        """Of everything, and of each pipeline where there are several. Each end is as sure as the verdict is."""
        sure, bounds = both_ends(confidence), [promise.p99_ms for promise in self.asked.promises.values()]
        bound_ms = bounds[0] if len(bounds) == 1 else None
        whole = percentiles_of(window.samples, self.asked.deadline_us, sure, bound_ms)
        by_pipeline = {}
        for place, name in enumerate(self.asked.pipelines if len(self.asked.pipelines) > 1 else ()):
            own = window.samples[window.samples["pipeline"] == place]
            found = percentiles_of(own, self.asked.deadline_us, sure, bounds[place])
            if found is not None:
                by_pipeline[name] = found
        return whole, by_pipeline

    def _warm_up(self, samples: Samples) -> warm_up.Found:
        """What of the start is let go."""
        if not len(samples):
            return warm_up.Found(0, True, "nothing was sent")
        if self.asked.kind not in SETTLING:
            return warm_up.Found(0, True, f"arrivals `{self.asked.kind}` change themselves, so all requests count")
        outcomes = samples["outcome"]
        failed = (outcomes != Outcome.OK) & (outcomes != Outcome.CANCELLED)
        return warm_up.find(samples["due_us"], samples["latency_us"], failed)

    def _meant(self, window: Window) -> dict[str, float]:
        """Pipeline -> requests a second that were asked for, or else were due."""
        whole, mix = self.asked.rate_rps or window.offered_rps, self.asked.mix
        return {name: whole * weight / sum(mix.values()) for name, weight in mix.items()}

    def _split(self, samples: Samples) -> tuple[list[Split], float | None]:
        """What the server counted meanwhile, and what of a request's time is none of its models'.

        Both are of all requests, the warm-up and lead-ins included: the server does not tell them apart.
        """
        if self._before is None:
            return [], None
        good = np.concatenate([part[part["outcome"] == Outcome.OK] for part in (*self._let_go, samples)])
        answered = {name: int(np.count_nonzero(good["pipeline"] == place))
                    for place, name in enumerate(self.asked.pipelines)}  # fmt: skip
        try:
            with self.noted.heard(len(self.noted)):  # a server that hangs is not waited for by who wants to leave
                after = splits.read_after(self.serving.http_address, self._before, answered)
            parts = splits.splits_of(self._before, after, self.serving.models)
        except (OSError, ValueError, KeyboardInterrupt) as error:
            if not any(warning.startswith(NO_STATISTICS) for warning in self.warnings):
                why = INTERRUPTED if isinstance(error, KeyboardInterrupt) else error
                self.warnings.append(f"{NO_STATISTICS}: {why}")
            return [], None
        if splits.has_lost_count(self._before, after, answered):
            if LOST_COUNT not in self.warnings:
                self.warnings.append(LOST_COUNT)
            return [], None
        outside_us = splits.outside_us(self._before, after, answered, good["latency_us"])
        return parts, outside_us

    def _notes(self, window: Window) -> list[str]:
        """What was asked, and is not what was promised."""
        promised = sum(promise.throughput_rps or 0.0 for promise in self.asked.promises.values())
        asked = self.asked.rate_rps or window.offered_rps
        if asked < promised * AS_PROMISED:
            return [f"the objective promises {promised:g} requests/s, and {asked:.4g} were asked for"]
        return []

    def _is_here(self) -> bool:
        """Whether the senders run on this machine alone, so that its own use says something."""
        return self.asked.driver == "direct"

    def _objective(self) -> Objective:
        """Of the pipeline with the tightest bound."""
        promise = min(self.asked.promises.values(), key=lambda p: p.p99_ms)
        return Objective(
            p99_ms=promise.p99_ms, throughput_rps=promise.throughput_rps, max_error_rate=promise.max_error_rate
        )

    def _errors(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for report in self.reports:
            for words, count in report.errors.items():
                found[words] = found.get(words, 0) + count
        return dict(sorted(found.items(), key=lambda entry: -entry[1]))

    def _traffic(self) -> Traffic:
        asked = self.asked
        options = {
            "senders": asked.senders, "sizes": list(asked.sizes), "priority": asked.priority,
            "server_timeout_us": asked.server_timeout_us, "cancel": asked.cancel, "streaming": asked.streaming,
            "shared_memory": asked.shared_memory, "segments": self._segments, "payloads": self.sources(),
        }  # fmt: skip
        return Traffic(
            drawn=self.drawn, mix=dict(asked.mix), protocol=asked.protocol, client=asked.client, driver=asked.driver,
            rate_rps=asked.rate_rps, deadline_ms=asked.deadline_us / 1000,
            payloads={name: len(of) for name, of in self.payloads.items()},
            payload_bytes={name: sorted(set(of.bytes_)) for name, of in self.payloads.items()}, options=options,
        )  # fmt: skip

    def sources(self) -> dict[str, str]:
        """Pipeline -> what its payloads are, in words."""
        return {name: of.source for name, of in self.payloads.items()}

    def _made(self) -> Made:
        return Made(
            command=self.asked.command, started=self._started, spec=self.asked.spec,
            spec_sha256=self.asked.spec_sha256, target=self.serving.target, server=dict(self.about),
            machine=machine(*PACKAGES), effective=self._effective,
        )  # fmt: skip


def _record_of(found: warm_up.Found, samples: Samples) -> WarmUp:
    seconds = float(samples["due_us"][found.index]) / 1e6 if found.index else 0.0
    return WarmUp(requests=found.index, seconds=seconds, found_by=found.how, too_long=found.too_long)
