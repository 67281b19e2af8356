"""`sweep.json`: settings that competed under the same arrivals, and which of them to take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from loadtest.results.run import (
    Amount,
    Count,
    IntervalRecord,
    JudgementRecord,
    Made,
    Objective,
    Record,
    Split,
    Traffic,
    Validity,
)

SWEEP_FORMAT: Literal[1] = 1
SWEEP_FILE = "sweep.json"
PLAN_FILE = "plan.json"  # beside it: what a sweep that goes on has to have in common with its beginning
LARGEST = 1e15  # of a number in a setting, as of an `Amount`


def _measurable(values: dict[str, Any]) -> dict[str, Any]:
    """Raises ValueError for a number that no setting can have."""
    left: list[Any] = [values]
    while left:
        value = left.pop()
        if isinstance(value, dict | list):
            left += value.values() if isinstance(value, dict) else value
        elif isinstance(value, int | float) and not 0 <= value <= LARGEST:
            raise ValueError(f"a number in a setting is from 0 to {LARGEST:g}")
    return values


Settings = Annotated[dict[str, Any], AfterValidator(_measurable)]


class Replicate(Record):
    """One turn of one point: a run of its own, in `folder` beside sweep.json (None: its samples were not kept).

    One that `confirms` was longer, after the settings had competed, to show that this one meets the objective.
    """

    round: Count
    order: Count
    seed: Count
    requests: Count
    outcomes: dict[str, Count]
    p50_ms: Amount | None
    p95_ms: Amount | None
    p99_ms: Amount | None
    achieved_rps: Amount
    validity: Validity
    folder: str | None = None
    confirms: bool = False


class Point(Record):
    """A setting, and what all its valid replicates together say.

    `settings`: field -> value, e.g. {"max_queue_delay_us": 500}. `rate_rps` is the rate it was measured at, or with
    `--find-max` the highest that passes (`max_rate`).
    """

    settings: Settings
    rate_rps: Amount
    added_because: str
    requests: Count
    p50_ms: IntervalRecord | None
    p95_ms: IntervalRecord | None
    p99_ms: IntervalRecord | None
    throughput_rps: IntervalRecord | None
    max_rate: IntervalRecord | None = None
    mean_batch: Amount | None
    splits: list[Split] = Field(default_factory=list)
    judgement: JudgementRecord
    replicates: list[Replicate]
    server_epoch: Count
    effective: dict[str, Any] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)


class Choice(Record):
    """What to take. `settings` is None when no point passes or none is valid; `tied` cannot be told apart from it.

    `written` is what to put into the spec, as YAML; `why` is one or two sentences for people.
    """

    settings: Settings | None
    tied: list[Settings] = Field(default_factory=list)
    why: str
    written: str | None = None


class Sweep(Record):
    """A sweep, complete or interrupted. `over` are the axes as asked; `points` in the order of their settings.

    Points of different `server_epoch` ran on different starts of the server: they are compared across it only with
    a warning in `warnings`. `server_starts` is how many such starts the turns ran on, `traffic` what all turns were
    sent alike; older records have neither.
    """

    format: Literal[1] = SWEEP_FORMAT
    pipeline: str
    objective: Objective
    over: Settings
    member: str
    rate_rps: Amount | None
    find_max: bool
    rounds: Count
    seconds: Amount
    complete: bool
    points: list[Point]
    choice: Choice
    warnings: list[str] = Field(default_factory=list)
    requests: Count
    wall_s: Amount
    seed: Count
    made: Made
    traffic: Traffic | None = None
    server_starts: Count | None = None


def read_sweep(folder: Path) -> Sweep:
    """The sweep that a folder (or its sweep.json) holds. Raises OSError or ValueError."""
    path = folder if folder.is_file() else folder / SWEEP_FILE
    return Sweep.model_validate_json(path.read_bytes())
