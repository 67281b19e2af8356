"""Load tests as plain numbers for `deploy`, which knows nothing of how they are kept."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.operations.autoscaling import waiting_requests
from deploy.operations.measured import Interval, Load, Measured, joined
from generator.problems import Place, Problem, ProblemsError, UserError
from loadtest.results.run import LONGEST_MS, RUN_FILE, read_run
from loadtest.results.sweep import SWEEP_FILE, read_sweep
from loadtest.sweep.setting import Setting

if TYPE_CHECKING:
    from loadtest.results.run import IntervalRecord, Run, Split
    from loadtest.results.sweep import Point, Sweep

_LEAST, _MOST = 1e-6, 1e12  # of rates and of items a request: what is beyond them no load test has measured
_OF_A_SWEEP = "it is one turn of a sweep, which is judged as a whole"


def measured_of(paths: Sequence[Path]) -> Measured:
    """What the load tests in these folders found: of a sweep the setting that was chosen, and its turns.

    Raises ProblemsError with every one that cannot be read.
    """
    loads: list[Load] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            loads += _read(path)
        except ProblemsError as error:
            problems += error.problems
    if problems:
        raise ProblemsError(problems)
    return Measured(tuple(loads))


def tuned(paths: Sequence[Path]) -> Load:
    """What counts of load tests of one thing: runs, at several rates, and the setting that a sweep chose.

    Raises ProblemsError; UserError where they are of several pipelines or objectives.
    """
    return _one([_read(path)[0] for path in paths])


def baseline(paths: Sequence[Path]) -> Load:
    """The same of what there was before: of a sweep its first point, which is its lowest setting."""
    return _one([_first(path) for path in paths])


def _first(path: Path) -> Load:
    found = _file(path)
    if found.name == RUN_FILE:
        return _of_run(found)
    sweep = _sweep(found)
    return _of_point(sweep, sweep.points[0], path)


def _one(loads: Sequence[Load]) -> Load:
    check_same(loads)
    return joined(loads)


def check_same(loads: Sequence[Load]) -> None:
    """What is compared or joined has to be of one pipeline under one objective. Raises UserError."""
    if len({load.pipeline for load in loads}) > 1:
        shown = ", ".join(f"{load.source} is of `{load.pipeline}`" for load in loads)
        raise UserError(f"the load tests are of different pipelines: {shown}", "compare a pipeline with itself")
    if len({load.objective_p99_ms for load in loads}) > 1:
        shown = ", ".join(f"{load.source} by {load.objective_p99_ms or 0:g} ms" for load in loads)
        raise UserError(f"the load tests were judged by different objectives: {shown}", "use one objective")


def _read(path: Path) -> list[Load]:
    found = _file(path)
    if found.name == RUN_FILE:
        return [_of_run(found)]
    sweep = _sweep(found)
    return [_of_point(sweep, _chosen(sweep), path), *_turns(sweep, found.parent)]


def _file(path: Path) -> Path:
    """The run.json or sweep.json that is meant."""
    names = (RUN_FILE, SWEEP_FILE)
    if path.is_file() and path.name in names:
        return path
    for name in names:
        if (path / name).is_file():
            return path / name
    what = "is no load test" if path.exists() else "is not there"
    raise _unusable(path, f"{path} {what}: a folder with {RUN_FILE} or {SWEEP_FILE} is",
                    "`tritonkit load run` and `tritonkit load sweep` write one and say where")  # fmt: skip


def _unusable(path: Path, message: str, hint: str = "", field: str = "") -> ProblemsError:
    return ProblemsError([Problem("TK429", Place(str(path)), field, message, hint)])


def _unreadable(path: Path, what: str, error: Exception) -> ProblemsError:
    from pydantic import ValidationError

    from loadtest.report.opening import faults_of

    why = faults_of(error) if isinstance(error, ValidationError) else str(error).partition("\n")[0]
    return _unusable(path, f"it cannot be read as a {what}: {why}", "it was damaged or edited: measure again")


def _checked(path: Path, field: str, value: float, *, least: float = 0.0, most: float = _MOST) -> float:
    """A value that something is divided by. Raises ProblemsError for one that no load test has measured."""
    if least <= value <= most and not 0 < value < _LEAST:
        return value
    message = f"`{field}` is {value:g}, which no load test measures: valid is {max(least, _LEAST):g} to {most:g}"
    raise _unusable(path, message, "it was damaged or edited: measure again", field)


def _of_run(file: Path) -> Load:
    try:
        run = read_run(file)
    except (OSError, ValueError) as error:
        raise _unreadable(file, "load test", error) from error
    if len(run.traffic.mix) > 1:
        message = f"it is of several pipelines at once ({run.pipeline}): what one of them takes alone cannot be told"
        raise _unusable(file, message, "load each of them by itself")
    sizes = _sizes(file, run.traffic.options.get("sizes", []))
    least = _LEAST if run.judgement.verdict == "pass" else 0.0
    _checked(file, "achieved_rps", run.achieved_rps, least=least)
    _checked(file, "traffic.rate_rps", run.traffic.rate_rps or 0.0)
    if run.objective is not None:
        _checked(file, "objective.throughput_rps", run.objective.throughput_rps or 0.0)
    _check_splits(file, "splits", run.splits)
    return Load(
        pipeline=run.pipeline,
        rate_rps=run.traffic.rate_rps or run.achieved_rps,
        throughput_rps=Interval.exactly(run.achieved_rps),
        verdict=run.judgement.verdict,
        why=run.judgement.why,
        confidence=run.judgement.confidence,
        source=str(file.parent),
        p99_ms=_interval(run.percentiles.p99_ms) if run.percentiles else None,
        objective_p99_ms=run.objective.p99_ms if run.objective else None,
        promised_rps=run.objective.throughput_rps if run.objective else None,
        waiting=_waiting(run.splits, run.pipeline, run.achieved_rps),
        items=statistics.fmean(sizes) if sizes else _items(file, run.splits, run.pipeline),
        target=run.made.target,
        spec_sha256=run.made.spec_sha256,
        machine=_machine(run),
    )


def _sweep(file: Path) -> Sweep:
    try:
        sweep = read_sweep(file)
    except (OSError, ValueError) as error:
        raise _unreadable(file, "sweep", error) from error
    if not sweep.points:
        raise _unusable(file, "the sweep was interrupted before it measured anything", "let it go on: `--resume`")
    return sweep


def _chosen(sweep: Sweep) -> Point:
    """The setting to take; where none passes, the one that was measured most, to say why."""
    for point in sweep.points:
        if point.settings == sweep.choice.settings:
            return point
    return max(sweep.points, key=lambda point: point.requests)


def _of_point(sweep: Sweep, point: Point, path: Path) -> Load:
    rate = point.throughput_rps.value if point.throughput_rps else 0.0
    where = f"points.{sweep.points.index(point)}"
    least = _LEAST if point.judgement.verdict == "pass" else 0.0
    for name, found in (("throughput_rps", point.throughput_rps), ("max_rate", point.max_rate)):
        for end in ("value", "low", "high") if found is not None else ():
            _checked(path, f"{where}.{name}.{end}", getattr(found, end), least=0.0 if end == "low" else least)
    _checked(path, "objective.throughput_rps", sweep.objective.throughput_rps or 0.0)
    _check_splits(path, f"{where}.splits", point.splits)
    return Load(
        pipeline=sweep.pipeline,
        rate_rps=point.rate_rps,
        throughput_rps=_interval(point.throughput_rps) if point.throughput_rps else Interval.exactly(0.0),
        verdict=point.judgement.verdict,
        why=point.judgement.why,
        confidence=point.judgement.confidence,
        source=str(path),
        p99_ms=_interval(point.p99_ms) if point.p99_ms else None,
        objective_p99_ms=sweep.objective.p99_ms,
        promised_rps=sweep.objective.throughput_rps,
        waiting=_waiting(point.splits, sweep.pipeline, rate),
        items=_items(path, point.splits, sweep.pipeline),
        capacity_rps=_interval(point.max_rate) if point.max_rate else None,
        of=Setting.of(point.settings).words(),
        settings=point.settings,
        member=sweep.member,
        target=sweep.made.target,
        # The settings of a sweep are written over the spec's: the spec that it names is not what was measured.
        spec_sha256="",
    )


def _turns(sweep: Sweep, folder: Path) -> Iterator[Load]:
    """The chosen setting's turns, at the rates of the search: more of its curve."""
    for replicate in _chosen(sweep).replicates:
        if replicate.folder is None or not replicate.validity.valid:
            continue
        file = folder / replicate.folder / RUN_FILE
        if file.is_file():
            turn = _of_run(file)
            # Alone it shows too little to be judged: it tells how many waited, and nothing of the objective.
            yield Load(
                pipeline=turn.pipeline, rate_rps=turn.rate_rps, throughput_rps=turn.throughput_rps,
                verdict="undecided", why=_OF_A_SWEEP, source=turn.source, waiting=turn.waiting, items=turn.items,
                target=turn.target,
            )  # fmt: skip


def _waiting(splits: Sequence[Split], pipeline: str, rate_rps: float) -> dict[str, float]:
    """Model -> requests that waited in its queue, by Little's law; an ensemble has no queue of its own."""
    models = [split for split in splits if split.model != pipeline] or list(splits)
    asked = max((split.requests for split in splits if split.model == pipeline), default=0)
    most = asked or max((split.requests for split in models), default=0)
    return {
        split.model: waiting_requests(rate_rps * split.requests / most, split.queue_us) for split in models if most
    }


def _items(path: Path, splits: Sequence[Split], pipeline: str) -> float:
    """What a request brought, by the server's count of the pipeline."""
    own = next((split for split in splits if split.model == pipeline and split.requests), None)
    items = own.mean_batch * own.executions / own.requests if own else 1.0
    return _checked(path, f"items a request of `{pipeline}` in splits", items)


def _sizes(path: Path, sizes: object) -> list[int]:
    """Items of the requests, as `--batch` gave them. Raises ProblemsError."""
    if isinstance(sizes, list) and all(type(size) is int and 1 <= size <= _MOST for size in sizes):
        return sizes
    raise _unusable(
        path, f"`traffic.options.sizes` is {str(sizes)[:60]}, and not a list of whole numbers from 1 on",
        "it was damaged or edited: measure again", "traffic.options.sizes",
    )  # fmt: skip


def _check_splits(path: Path, where: str, splits: Sequence[Split]) -> None:
    for number, split in enumerate(splits):
        _checked(path, f"{where}.{number}.queue_us", split.queue_us, most=LONGEST_MS * 1000)


def _interval(record: IntervalRecord) -> Interval:
    return Interval(record.value, record.low, record.high, record.confidence)


def _machine(run: Run) -> str:
    machine = run.made.machine
    return ", ".join(str(machine[key]) for key in ("processor", "cores") if key in machine)
