"""`run.json`: what one load test was, what it saw, and what can be said of it. Beside it lies `samples.bin`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# A record that was damaged, or written by hand, is noticed where it is read, and not by what is reckoned from it.
Count = Annotated[int, Field(ge=0, le=1 << 62)]
Amount = Annotated[float, Field(ge=0, le=1e15)]
Share = Annotated[float, Field(ge=0, le=1)]
LONGEST_MS = 4_294_967.0  # samples hold 32 bits of microseconds
DeadlineMs = Annotated[float, Field(gt=0, le=LONGEST_MS)]

RUN_FORMAT: Literal[1] = 1
_UNCOUNTED = (("cancelled", "cancelled on purpose"), ("unsent", "never sent"))
RUN_FILE, SAMPLES_FILE = "run.json", "samples.bin"


class Record(BaseModel):
    """Frozen, and nothing in it that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class IntervalRecord(Record):
    """A value with its confidence interval; at confidence 0 no interval is known, and both ends are the value.

    `confidence` is two-sided: that the true value lies between `low` and `high`. In a run each end by itself is as
    sure as the verdict (`JudgementRecord.confidence`), so that both together are 98 % sure where that is 99 %.
    """

    value: Amount
    low: Amount
    high: Amount
    confidence: Share = 0.99


class Percentiles(Record):
    """Latency percentiles in milliseconds, of everything that counts (after the warm-up)."""

    p50_ms: IntervalRecord
    p95_ms: IntervalRecord
    p99_ms: IntervalRecord
    p999_ms: IntervalRecord | None = None  # None: too few samples
    max_ms: Amount
    mean_ms: Amount


class Objective(Record):
    """What was promised: the spec's own words, or the command line's."""

    p99_ms: Amount
    throughput_rps: Amount | None = None
    max_error_rate: Share = 0.001


class JudgementRecord(Record):
    """What can be said of the objective. `why` is one sentence for people.

    `confidence` is one-sided: a pass rests on the upper end of the p99's interval alone, a fail on the lower.
    Of an invalid run the counts against the bound are None: they are of the senders' making.
    """

    verdict: Literal["pass", "fail", "undecided", "invalid"]
    why: str
    requests: Count
    over: Count | None = None
    worth: Amount | None = None
    by_binomial: Literal["pass", "fail", "undecided"] | None = None
    needed: Count | None = None
    confidence: Share = 0.99
    error_rate: IntervalRecord | None = None


class Validity(Record):
    """Whether the run can be believed. `reasons` say what was seen, the bound, and what to do; empty when valid."""

    valid: bool
    reasons: list[str] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
    lag_p50_us: Amount
    lag_p99_us: Amount
    lag_max_us: Amount
    lag_bound_us: Amount
    busiest_core: Amount
    busiest_core_bound: Amount
    gc_pauses: Count
    gc_longest_us: Count
    clock_resolution_ns: Count
    waited_for_connection: Count
    senders: Count


class WarmUp(Record):
    """How much of the start was left out, and how that was found. `too_long`: more than may be was slower."""

    requests: Count
    seconds: Amount
    found_by: str
    too_long: bool = False


class Split(Record):
    """Where one model's part of a request went, mean microseconds by the server's statistics; and its batches.

    Of everything that the server answered in the run, the warm-up and lead-ins included, as is `Run.outside_us`.
    `batch_sizes`: executed batch size -> executions.
    """

    model: str
    requests: Count
    executions: Count
    mean_batch: Amount
    queue_us: Amount
    input_us: Amount
    compute_us: Amount
    output_us: Amount
    batch_sizes: dict[Count, Count] = Field(default_factory=dict)


class Traffic(Record):
    """What was asked for: how arrivals were drawn (kind, rate, seed, ...), the mix, and how they were sent."""

    drawn: dict[str, Any]
    mix: dict[str, Amount]
    protocol: Literal["http", "grpc"]
    client: Literal["raw", "tritonclient"]
    driver: Literal["direct", "locust"] = "direct"
    rate_rps: Amount | None
    deadline_ms: DeadlineMs
    payloads: dict[str, Count]
    payload_bytes: dict[str, list[Count]] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)


class Made(Record):
    """What it takes to repeat it. `effective` is each model's configuration as the server reports it."""

    command: str
    started: str
    spec: str
    spec_sha256: str
    target: str
    server: dict[str, Any] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)
    effective: dict[str, Any] = Field(default_factory=dict)


class Run(Record):
    """One load test. `percentiles` is None when the run is invalid: then there is no percentile to tell.

    `requests` are all that were due, `counted` those that percentiles are of: without the warm-up, what was cancelled
    on purpose, and what was never sent because the run ended.
    """

    format: Literal[1] = RUN_FORMAT
    pipeline: str
    objective: Objective | None
    judgement: JudgementRecord
    percentiles: Percentiles | None
    by_pipeline: dict[str, Percentiles] = Field(default_factory=dict)
    validity: Validity
    warm_up: WarmUp
    requests: Count
    counted: Count
    outcomes: dict[str, Count]
    achieved_rps: Amount
    wall_s: Amount
    traffic: Traffic
    splits: list[Split] = Field(default_factory=list)
    outside_us: float | None = None
    errors: dict[str, Count] = Field(default_factory=dict)
    stopped: str | None = None
    made: Made

    @property
    def left_out(self) -> str:
        """What of the requests does not count, in words; empty where all do."""
        warm = min(self.warm_up.requests, self.requests - self.counted)
        rest = self.requests - self.counted - warm
        kinds = [words for name, words in _UNCOUNTED if self.outcomes.get(name)]
        found = [f"{warm:,} of the warm-up"] if warm > 0 else []
        return ", ".join([*found, f"{rest:,} {' or '.join(kinds) or 'others'}"] if rest > 0 else found)


def without_counts(judgement: JudgementRecord, why: str | None = None) -> JudgementRecord:
    """The same of an invalid run: nothing of it is held against the bound. `why` takes the place of its own."""
    nothing = dict.fromkeys(("over", "worth", "by_binomial", "needed"))
    return judgement.model_copy(update={"verdict": "invalid", "why": why or judgement.why, **nothing})


def read_run(folder: Path) -> Run:
    """The run that a folder (or its run.json) holds. Raises OSError or ValueError."""
    path = folder if folder.is_file() else folder / RUN_FILE
    return Run.model_validate_json(path.read_bytes())
