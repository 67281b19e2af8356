"""One job from its ONNX file to an installed engine, or to the reasons why there is none."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from generator.engine.build.candidates import Built, Choice, choices, compile_choice, compiler_of, runner_of
from generator.engine.build.compare import Limits, worse
from generator.engine.build.gate import Judge
from generator.engine.build.jobs import Job
from generator.engine.build.lower import QUANTISED, Lowered, Lowerer
from generator.engine.build.prepare import prepare, tensorrt_major
from generator.engine.build.profiles import profiles_of
from generator.engine.cache import FOLDER, Cache
from generator.engine.errors import Finding, StageError
from generator.engine.install.store import Installed
from generator.engine.install.write import install, manifest_of
from generator.engine.runner import OnnxRunner, Runner
from generator.engine.validate.shapes import first_line
from generator.problems import Problem, Severity
from generator.project import Project
from generator.render.json_text import pretty
from generator.whole_file import write_whole

if TYPE_CHECKING:
    import onnx

    from generator.engine.validate.verdict import Verdict

Progress = Callable[[str], None]
Status = Literal["current", "installed", "refused", "prepared", "looked"]


class _Stop(Exception):  # noqa: N818  (no error: the stage that was asked for is done)
    """The last stage that was asked for is done."""


@dataclass(frozen=True)
class Row:
    """One engine that was tried: its verdict, or why there is none; latency in µs by batch size."""

    choice: Choice
    verdict: Verdict | None = None
    why: str = ""
    latency: Mapping[int, Any] = field(default_factory=dict)
    size_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """For the manifest and `--json`."""
        return {
            "engine": self.choice.engine, "precision": self.choice.precision, "served": self.choice.served,
            "passed": None if self.verdict is None else self.verdict.passed, "why": self.why,
            "bytes": self.size_bytes, "latency_us": {str(size): value for size, value in self.latency.items()},
        }  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a job. `rows` are the engines that were tried; `where` is what was written, a folder."""

    job: Job
    status: Status
    problems: Sequence[Problem] = ()
    rows: Sequence[Row] = ()
    chosen: Choice | None = None
    where: Path | None = None
    installed: Installed | None = None

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        verdicts = {row.choice.title: row.verdict.to_json() for row in self.rows if row.verdict is not None}
        return {
            "target": self.job.plan.target.name, "model": self.job.model.name, "version": self.job.version,
            "status": self.status, "engine": None if self.chosen is None else self.chosen.engine,
            "precision": None if self.chosen is None else self.chosen.precision,
            "where": None if self.where is None else str(self.where),
            "tried": [row.to_json() for row in self.rows], "verdicts": verdicts,
            "problems": [
                {"code": p.code, "severity": str(p.severity), "field": p.field, "message": p.message, "hint": p.hint}
                for p in self.problems
            ],
        }  # fmt: skip


class Builder:
    """Builds jobs of one project.

    `force` builds what is current, and reads nothing from the cache. `until` stops after a stage, and `keep` is a
    folder for what the stages make. `against` is an older engine's manifest, and `limits` how much worse one may be.
    """

    def __init__(
        self, project: Project, progress: Progress, *, force: bool = False, until: str | None = None,
        keep: Path | None = None, against: Mapping[str, Any] | None = None, limits: Limits | None = None,
    ) -> None:  # fmt: skip
        self.project, self.progress, self.force = project, progress, force
        self.until, self.keep = until, keep
        self.against, self.limits = against, limits or Limits()
        self.cache = Cache(project.root / FOLDER, fresh=force)

    def is_done(self, job: Job) -> bool:
        """Whether there is nothing to do for it."""
        looking = self.until is not None or self.keep is not None or self.against is not None
        return not self.force and not looking and job.is_current(self.project)

    def build(self, job: Job) -> Outcome:
        """The outcome; what is the user's to mend is in its problems, and nothing was installed then."""
        there = job.installed(self.project)
        if self.is_done(job) and there is not None:
            return Outcome(job, "current", chosen=Choice(there.engine, there.precision), where=there.folder,
                           installed=there)  # fmt: skip
        work = _Work(job, self)
        try:
            return work.run()
        except _Stop:
            return Outcome(job, "looked", work.problems(), work.rows)
        except StageError as error:
            return Outcome(job, "refused", (*work.problems(), *job.problems(error.findings)), work.rows)
        except BrokenPipeError:  # nobody reads what is told any more
            raise
        except OSError as error:
            found = job.problems([_not_written(error)])
            return Outcome(job, "refused", (*work.problems(), *found), work.rows)


def _not_written(error: OSError) -> Finding:
    """What the operating system refuses between the stages: mostly room for temporary files."""
    what = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "a temporary file"
    reason = error.strerror or str(error)
    hint = "make room; TMPDIR names another folder for temporary files"
    return Finding("TK983", f"{what} cannot be read or written: {reason}", hint, "engine")


def _ranking(mixed: Mapping[str, Any]) -> dict[str, bytes | str]:
    """The layers by the harm that each does, as data and, where matplotlib is installed, as a chart."""
    import importlib.util

    from generator.engine.precision import Harm, draw_ranking

    files: dict[str, bytes | str] = {"mixed.json": pretty(dict(mixed))}
    if importlib.util.find_spec("matplotlib") is not None:
        ranking = [
            Harm(**{**row, "harm": math.inf if row["harm"] is None else row["harm"]}) for row in mixed["ranking"]
        ]
        with tempfile.TemporaryDirectory() as folder:
            chart = Path(folder) / "mixed.svg"
            draw_ranking(ranking, chart, mixed["layers"])
            files["mixed.svg"] = chart.read_bytes()
    return files


class _Work:
    """What one build has found so far."""

    def __init__(self, job: Job, builder: Builder) -> None:
        self.job, self.builder, self.project = job, builder, builder.project
        self.rows: list[Row] = []
        self.notes: list[Finding] = []
        self.failures: list[Finding] = []
        self.why_chosen = ""

    def problems(self) -> list[Problem]:
        """What is worth knowing, whatever came of it."""
        return self.job.problems(dict.fromkeys(self.notes), Severity.NOTE)

    def tell(self, text: str) -> None:
        """Progress of this job."""
        self.builder.progress(f"{self.job.title}: {text}")

    def done(self, stage: str, files: Mapping[str, bytes | str]) -> None:
        """Keeps what a stage made, if that is wanted; stops after the last one that is."""
        self.keep(files)
        if self.builder.until == stage:
            raise _Stop

    def keep(self, files: Mapping[str, bytes | str]) -> None:
        """Writes what a stage made into the folder of those who want to look at it."""
        if self.builder.keep is not None:
            job = self.job
            folder = self.builder.keep / job.plan.target.name / job.model.name / str(job.version)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                for name, data in files.items():
                    write_whole(folder / name, data)
            except OSError as error:
                message = f"{folder} cannot be written: {error.strerror}"
                raise StageError(Finding("TK983", message, "", "engine")) from error

    def run(self) -> Outcome:
        """Every stage. Raises StageError."""
        job = self.job
        self.tell("reading the graph")
        model, graph = job.read(self.project)
        if job.program.engine == "tensorrt" or job.program.asked == "auto":
            from generator.engine.precision.cast_first import cast_first

            model = cast_first(model)
        self._inspect(model)
        profiles = profiles_of(job, model)
        self.done("inspect", {"graph.onnx": graph})
        self.tell("the gate set through FP32")
        judge = Judge(job, graph, self.project, profiles)
        lowerer = Lowerer(job, model, judge, self.project, self.builder.cache)
        self.notes += judge.notes
        here = [choice for choice in choices(job) if not self._missing(choice)]
        if not here:
            self.done("calibrate", {})
            elsewhere = next((choice for choice in reversed(choices(job)) if choice.engine == "tensorrt"), None)
            where = prepare(
                job, elsewhere or choices(job)[-1], profiles, lowerer, project=self.project, progress=self.tell
            )
            self.notes += lowerer.notes
            self.done(str(self.builder.until), {})
            return Outcome(job, "prepared", self.problems(), self.rows, where=where)
        built = [
            one for choice in here
            if (one := self._compiled(choice, len(here) == 1, profiles, lowerer)) is not None
        ]  # fmt: skip
        self.notes += lowerer.notes
        self.done("compile", {f"{one.choice.precision}-{one.compiled.file}": one.compiled.data for one in built})
        good = self._judged(built, judge, graph)
        verdicts = {"verdicts.json": pretty([row.to_json() for row in self.rows])}
        if not good:
            self.keep(verdicts)
            return Outcome(job, "refused", (*self.problems(), *self._why(built, judge, graph)), self.rows)
        self.done("validate", verdicts)
        chosen = self._fastest(good, judge)
        self.done("measure", {"tried.json": pretty([row.to_json() for row in self.rows])})
        return self._installed(chosen, judge, graph)

    # Stages --------------------------------------------------------------------------------------------------------

    def _inspect(self, model: onnx.ModelProto) -> None:
        from generator.engine.inspect import require, suspicious

        program, job = self.job.program, self.job
        if program.asked != "auto":
            words, major = (program.engine, program.precision), tensorrt_major(job)
            require(model, *words, batched=job.model.max_batch_size > 0, tensorrt=major)
            self.notes += suspicious(model, *words, tensorrt=major)

    def _missing(self, choice: Choice) -> bool:
        why = compiler_of(choice).missing()
        if why:
            self.rows.append(Row(choice, why=why))
        return bool(why)

    def _compiled(self, choice: Choice, alone: bool, profiles: Any, lowerer: Lowerer) -> Built | None:
        """One choice compiled; of several, one that cannot be is only left out."""
        try:
            lowered = self._lowered(choice, lowerer)
            project, tell = self.project, self.tell
            return compile_choice(self.job, choice, profiles, lowered, project=project, progress=tell)
        except StageError as error:
            if alone:
                raise
            self.rows.append(Row(choice, why="; ".join(finding.message for finding in error.findings)))
            return None

    def _lowered(self, choice: Choice, lowerer: Lowerer) -> Lowered:
        ranges = {"ranges.json": lowerer.ranges(self.tell).text()} if choice.precision in QUANTISED else {}
        self.done("calibrate", ranges)
        in_graph = getattr(compiler_of(choice), "precision_in_graph", True)
        lowered = lowerer.lower(choice.engine, choice.precision, self.tell, in_graph=in_graph)
        files: dict[str, bytes | str] = {f"{choice.engine}-{choice.precision}.onnx": lowered.graph}
        if "mixed" in lowered.facts:
            files.update(_ranking(lowered.facts["mixed"]) if self.builder.keep is not None else {})
        self.done("precision", files)
        return lowered

    def _judged(self, built: Sequence[Built], judge: Judge, graph: bytes) -> list[Built]:
        """Those that pass; every verdict goes into the rows."""
        good = []
        fp32 = OnnxRunner(graph, threads=1)
        for one in built:
            self.tell(f"the gate set through {one.choice.title}")
            try:
                runner = runner_of(one.choice, one.compiled, self.job.program)
                try:
                    verdict = judge.verdict(runner, fp32, one.choice.precision)
                finally:
                    runner.close()
            except StageError as error:
                self._failed(one.choice, error.findings)
                continue
            except Exception as error:  # noqa: BLE001  (whatever an engine raises)
                said = first_line(error)
                message = f"{one.choice.title} cannot run on the gate set: {said}"
                self._failed(one.choice, [Finding("TK978", message, "", "engine")])
                continue
            self.rows.append(Row(one.choice, verdict, size_bytes=len(one.compiled.data)))
            if verdict.passed:
                good.append(one)
        fp32.close()
        return good

    def _failed(self, choice: Choice, findings: Sequence[Finding]) -> None:
        """An engine that cannot even be judged."""
        self.rows.append(Row(choice, why="; ".join(finding.message for finding in findings)))
        self.failures += findings

    def _fastest(self, good: Sequence[Built], judge: Judge) -> Built:
        """The one to install: the fastest of those that something serves. Their latencies go into the rows."""
        from generator.engine.build.speed import fastest_of, measured

        runners: dict[str, Runner] = {
            one.choice.title: runner_of(one.choice, one.compiled, self.job.program) for one in good
        }
        try:
            found = measured(runners, judge.samples, self.job, judge.profiles, self.tell)
        finally:
            for runner in runners.values():
                runner.close()
        self.rows = [
            replace(row, latency={size: timing.facts() for size, timing in found.get(row.choice.title, {}).items()})
            for row in self.rows
        ]
        chosen, why = fastest_of([one for one in good if one.choice.served] or good, found)
        self.why_chosen = why.text
        return chosen

    def _why(self, built: Sequence[Built], judge: Judge, graph: bytes) -> list[Problem]:
        """Why nothing passed, which layers are to blame, and what to try next."""
        from generator.engine.build.layers import at_layers
        from generator.engine.validate.advice import advise
        from generator.engine.validate.blame import blame

        problems = self.job.problems(self.failures)
        for one in built:
            verdict = next(row.verdict for row in self.rows if row.choice == one.choice)
            if verdict is None:
                continue  # it is among the failures
            failed = [check.code for check in verdict.checks if not check.passed]
            self.tell("looking for the layers to blame")
            ranking = blame(graph, one.lowered.graph, judge.samples) if one.lowered.graph != graph else []
            if quantised := one.lowered.facts.get("quantised"):
                ranking = at_layers(ranking, self.job.read(self.project)[0], quantised["stay"])
            calibration = self.job.program.build.calibration
            hints = advise(
                one.choice.precision, ranking, method=calibration.method if calibration else "",
                mixed=self.job.program.build.mixed, failed=failed, kept=self.job.program.build.keep.nodes,
                bf16=one.choice.engine != "onnxruntime" or one.choice.cuda,
            )  # fmt: skip
            problems += self.job.problems(verdict.findings([str(hint) for hint in hints]))
        return problems

    def _installed(self, one: Built, judge: Judge, graph: bytes) -> Outcome:
        job, row = self.job, next(row for row in self.rows if row.choice == one.choice)
        assert row.verdict is not None  # noqa: S101  (only what was judged gets here)
        manifest = self._manifest(one, row, judge, graph)
        found = worse(self.builder.against, manifest, self.builder.limits)
        if found:
            return Outcome(job, "refused", (*self.problems(), *job.problems(found)), self.rows, one.choice)
        if not one.choice.served:
            self.notes.append(Finding("TK987", f"{one.choice.title} passes, and nothing serves it yet", "", "engine"))
            return Outcome(job, "refused", self.problems(), self.rows, one.choice)
        data = None if one.compiled.data == graph and one.choice.precision == "fp32" else one.compiled.data
        self.tell("installing")
        place = (job.plan.target.name, job.model.name, job.version)
        there = install(self.project, place, manifest, data)
        return Outcome(job, "installed", self.problems(), self.rows, one.choice, there.folder, there)

    def _manifest(self, one: Built, row: Row, judge: Judge, graph: bytes) -> dict[str, Any]:
        assert row.verdict is not None  # noqa: S101
        as_it_is = one.compiled.data == graph and one.choice.precision == "fp32"
        facts = {
            "graph_sha256": hashlib.sha256(one.lowered.graph).hexdigest(),
            "gate": judge.facts(), "accuracy": row.verdict.to_json(), **one.lowered.facts,
            "compiled": dict(one.compiled.facts),
        }  # fmt: skip
        tried = [one.to_json() for one in self.rows]
        measured = {"latency_us": row.to_json()["latency_us"], "tried": tried, "chosen": self.why_chosen}
        place = (self.job.plan.target.name, self.job.model.name, self.job.version)
        return manifest_of(
            place, self.job.key, {**self.job.request, "engine": one.choice.engine, "precision": one.choice.precision},
            engine=one.choice.engine, precision=one.choice.precision,
            file=None if as_it_is else (one.compiled.file, one.compiled.data), facts=facts, measured=measured,
        )  # fmt: skip
