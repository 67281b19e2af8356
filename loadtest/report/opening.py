"""Opens what a load test or a sweep left behind, and says clearly what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from generator.problems import Place, Problem, ProblemsError, UserError
from loadtest.results.run import RUN_FILE, RUN_FORMAT, SAMPLES_FILE, Run, without_counts
from loadtest.results.sweep import SWEEP_FILE, SWEEP_FORMAT, Point, Sweep
from loadtest.samples.record import Samples

_LARGEST_BYTES = 256 << 20
_SHOWN_FAULTS = 3

AnyRecord = TypeVar("AnyRecord", bound=BaseModel)


@dataclass(frozen=True)
class OpenedRun:
    """A run and its samples (a read-only memmap). Of one that cannot be believed there is no percentile.

    `name` is that of its folder, `missing` how many of its samples are not in the file, `cut` whether the file says
    itself that there should be more.
    """

    name: str
    folder: Path
    run: Run
    samples: Samples
    missing: int = 0
    cut: bool = False


@dataclass(frozen=True)
class OpenedSweep:
    """A sweep. Of points and turns that cannot be believed there is no percentile."""

    name: str
    folder: Path
    sweep: Sweep


Opened = OpenedRun | OpenedSweep


class Refused(Exception):  # noqa: N818  (a Problem on its way to ProblemsError)
    """One thing that is wrong with a record."""

    def __init__(self, code: str, file: Path, message: str, hint: str = "", field: str = "") -> None:
        super().__init__(message)
        self.problem = Problem(code, Place(str(file)), field, message, hint)


def open_all(paths: Iterable[Path]) -> list[Opened]:
    """What lies in these folders, each with a name of its own. Raises ProblemsError with all that is wrong."""
    found: list[Opened] = []
    problems = []
    for path in paths:
        try:
            found.append(open_one(path))
        except Refused as refused:
            problems.append(refused.problem)
    if problems:
        raise ProblemsError(problems)
    return _with_names(found)


def open_one(path: Path) -> Opened:
    """What lies in this folder, or in the folder of this run.json or sweep.json. Raises Refused."""
    folder = path.parent if path.name in {RUN_FILE, SWEEP_FILE} else path
    sweep, run = folder / SWEEP_FILE, folder / RUN_FILE
    if path.name == SWEEP_FILE or (path.name != RUN_FILE and sweep.is_file()):
        return OpenedSweep(_name(folder), folder, _believable_sweep(_read(sweep, Sweep, SWEEP_FORMAT)))
    if not run.is_file():
        raise Refused("TK890", path, _absent(path, folder), "name the folder that `tritonkit load` printed")
    return _open_run(folder, run)


def _open_run(folder: Path, file: Path) -> OpenedRun:
    run = _read(file, Run, RUN_FORMAT)
    meta, samples = _samples(folder / SAMPLES_FILE)
    if len(samples) > run.requests:
        raise Refused(
            "TK893", folder / SAMPLES_FILE,
            f"{len(samples):,} samples lie beside a run of {run.requests:,} requests, so they are of another run",
            "each run has a folder of its own; measure again",
        )  # fmt: skip
    return OpenedRun(_name(folder), folder, _believable(run), samples, run.requests - len(samples), bool(meta["cut"]))


def _absent(path: Path, folder: Path) -> str:
    if not folder.exists():
        return "there is no such folder"
    if not folder.is_dir():
        return f"this is a file, and neither {RUN_FILE} nor {SWEEP_FILE}"
    inside = f"the folder has neither {RUN_FILE} nor {SWEEP_FILE}"
    if (folder / SAMPLES_FILE).is_file():
        return f"{inside}, only {SAMPLES_FILE}: the load test ended before it wrote what it was"
    if not any(folder.iterdir()):
        return f"{inside}: it is empty"
    return inside if path == folder else f"{path.name} is not there"


def _read(file: Path, kind: type[AnyRecord], known: int) -> AnyRecord:
    try:
        if file.stat().st_size > _LARGEST_BYTES:
            raise Refused("TK891", file, f"it has more than {_LARGEST_BYTES >> 20} MiB, and none is that large")
        data = json.loads(file.read_bytes())
    except OSError as error:
        raise Refused("TK890", file, f"it cannot be read: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, RecursionError) as error:
        why = f"line {error.lineno}, {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise Refused("TK891", file, f"it is no JSON ({why})", "measure again") from None
    if not isinstance(data, dict):
        raise Refused("TK891", file, "it is JSON, but not an object", "measure again")
    if data.get("format") != known:
        raise Refused(
            "TK892", file, f"its format is {json.dumps(data.get('format'))[:40]}; this version reads format {known}",
            "use the version of tritonkit that wrote it, or measure again", "format",
        )  # fmt: skip
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise _damaged(file, error) from None


def _damaged(file: Path, error: ValidationError) -> Refused:
    return Refused("TK891", file, f"it is not what a load test writes: {faults_of(error)}", "measure again")


def faults_of(error: ValidationError) -> str:
    """What does not fit, each with the field's name: `splits.0.queue_us: input should be ...`."""
    faults = [
        (".".join(map(str, fault["loc"])) or "all of it", fault["msg"])
        for fault in error.errors(include_url=False, include_input=False)
    ]
    words = "; ".join(f"{where}: {what[:1].lower()}{what[1:]}" for where, what in faults[:_SHOWN_FAULTS])
    return f"{words}; and {len(faults) - _SHOWN_FAULTS} more" if len(faults) > _SHOWN_FAULTS else words


def _samples(file: Path) -> tuple[dict[str, Any], Samples]:
    from loadtest.samples.file import read_samples

    try:
        return read_samples(file)
    except FileNotFoundError:
        raise Refused("TK893", file, "the samples are not there", "copy the whole folder of the run") from None
    except UserError as error:
        raise Refused("TK893", file, error.message, error.hint or "measure again") from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise Refused("TK893", file, f"the samples cannot be read: {why}") from None


def _believable(run: Run) -> Run:
    if run.validity.valid and run.judgement.verdict != "invalid":
        return run
    reasons = run.validity.reasons or [run.judgement.why]
    return run.model_copy(
        update={
            "percentiles": None,
            "by_pipeline": {},
            "validity": run.validity.model_copy(update={"valid": False, "reasons": reasons}),
            "judgement": without_counts(run.judgement),
            "outside_us": None,
        }
    )


def _believable_sweep(sweep: Sweep) -> Sweep:
    return sweep.model_copy(update={"points": [_believable_point(point) for point in sweep.points]})


def _believable_point(point: Point) -> Point:
    nothing: dict[str, Any] = dict.fromkeys(("p50_ms", "p95_ms", "p99_ms"))
    turns = [turn if turn.validity.valid else turn.model_copy(update=nothing) for turn in point.replicates]
    if point.judgement.verdict != "invalid":
        return point.model_copy(update={"replicates": turns})
    judgement = without_counts(point.judgement)
    nothing |= {"max_rate": None, "throughput_rps": None, "mean_batch": None}
    return point.model_copy(update={"replicates": turns, "judgement": judgement, "splits": [], **nothing})


def _name(folder: Path) -> str:
    return folder.resolve().name or "run"


def _with_names(found: Sequence[Opened]) -> list[Opened]:
    """Two of the same name get numbers: the name stands in headings, anchors and file names."""
    names = [one.name for one in found]
    seen: dict[str, int] = {}
    out: list[Opened] = []
    for one in found:
        seen[one.name] = seen.get(one.name, 0) + 1
        name = f"{one.name} ({seen[one.name]})" if names.count(one.name) > 1 else one.name
        out.append(replace(one, name=name))
    return out
