"""One job from its ONNX file to an installed engine, or to the reasons why there is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.engine.build.candidates.choices import Choice, choices
from generator.engine.build.candidates.compiling import Built
from generator.engine.build.candidates.presence import now_here, told
from generator.engine.build.candidates.profiles import profiles_of
from generator.engine.build.candidates.trying import compiled, fastest, is_missing, judged, why_refused
from generator.engine.build.compare import Limits
from generator.engine.build.finish import finished
from generator.engine.build.gate.judge import Judge
from generator.engine.build.jobs import Job
from generator.engine.build.lower.lowerer import Lowerer
from generator.engine.build.outcome import Outcome, Row
from generator.engine.build.prepared.files import prepare, tensorrt_major
from generator.engine.build.prepared.plan import compile_prepared
from generator.engine.build.record import Record, Stop
from generator.engine.cache import FOLDER, Cache
from generator.engine.compile.base import Profile
from generator.engine.errors import Finding, StageError
from generator.engine.install.store import Installed
from generator.problems import Problem, Severity
from generator.project import Project
from generator.render.json_text import pretty

if TYPE_CHECKING:
    import onnx

__all__ = ["Builder", "Outcome", "Row"]

Progress = Callable[[str], None]
BEFORE_THE_GATE = ("inspect", "calibrate", "precision", "compile")


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
            chosen, notes = Choice(there.engine, there.precision), self._current_notes(job, there)
            return Outcome(job, "current", notes, chosen=chosen, where=there.folder, installed=there)
        return self._told(job, self._run)

    def _current_notes(self, job: Job, there: Installed) -> list[Problem]:
        """What is worth knowing of an engine that need not be built."""
        titles = now_here(job, there.manifest)
        if not titles:
            return []
        hint = f"`tritonkit build {job.plan.spec_file} --target {job.plan.target.name} --force` tries them too"
        return job.problems([Finding("TK994", told(titles), hint, "engine")], Severity.NOTE)

    def take(self, job: Job, file: Path) -> Outcome:
        """The outcome of an engine that was built elsewhere: `file` is judged, timed and installed as others are."""
        return self._told(job, lambda record: self._take(file, record))

    def _told(self, job: Job, run: Callable[[Record], Outcome]) -> Outcome:
        """What comes of it, whatever ends it."""
        record = Record(job, self.project, self.progress, self.until, self.keep)
        try:
            return run(record)
        except Stop:
            return Outcome(job, "looked", record.problems(), record.rows)
        except StageError as error:
            return Outcome(job, "refused", (*record.problems(), *job.problems(error.findings)), record.rows)
        except BrokenPipeError:  # nobody reads what is told any more
            raise
        except OSError as error:
            found = job.problems([_not_written(error)])
            return Outcome(job, "refused", (*record.problems(), *found), record.rows)

    # Stages --------------------------------------------------------------------------------------------------------

    def _run(self, record: Record) -> Outcome:
        """Every stage. Raises StageError, and Stop after the last one that is wanted."""
        job = record.job
        model, graph, profiles = _inspected(record)
        judge = _judge(record, model, graph, profiles)
        lowerer = Lowerer(job, model, judge, self.project, self.cache)
        here = [choice for choice in choices(job) if not is_missing(choice, record)]
        if not here:
            return self._prepared(profiles, lowerer, record)
        built = [
            one for choice in here
            if (one := compiled(choice, profiles, lowerer, record, alone=len(here) == 1)) is not None
        ]  # fmt: skip
        record.notes += lowerer.notes
        record.done("compile", {f"{one.choice.precision}-{one.compiled.file}": one.compiled.data for one in built})
        return self._best(built, judge, graph, record)

    def _take(self, file: Path, record: Record) -> Outcome:
        """The same from a file on that is compiled already. Raises StageError and Stop."""
        from generator.engine.build.elsewhere.brought import path_text
        from generator.engine.build.elsewhere.taking import brought

        job = record.job
        record.tell(f"looking into {path_text(file)}")
        model, graph = job.read(self.project)
        profiles = profiles_of(job, model)
        one = brought(job, file, model, profiles, self.project.root)
        for stage in BEFORE_THE_GATE:
            record.done(stage, {})
        return self._best([one], _judge(record, model, graph, profiles), graph, record)

    def _best(self, built: Sequence[Built], judge: Judge, graph: bytes, record: Record) -> Outcome:
        """The fastest of those that pass, installed. Raises StageError and Stop."""
        job = record.job
        good = judged(built, judge, record)
        verdicts = {"verdicts.json": pretty([row.to_json() for row in record.rows])}
        if not good:
            record.keep(verdicts)
            why = why_refused(built, judge, graph, record)
            return Outcome(job, "refused", (*record.problems(), *why), record.rows)
        record.done("validate", verdicts)
        chosen, reason = fastest(good, judge, record)
        record.done("measure", {"tried.json": pretty([row.to_json() for row in record.rows])})
        return finished(chosen, judge, graph, record, why=reason, against=self.against, limits=self.limits)

    def _prepared(self, profiles: Sequence[Profile], lowerer: Lowerer, record: Record) -> Outcome:
        """Nothing compiles it here: what compiles it elsewhere is written."""
        job = record.job
        record.done("calibrate", {})
        choice = next((c for c in reversed(choices(job)) if c.engine == "tensorrt"), choices(job)[-1])
        prepared = prepare(job, choice, profiles, lowerer, project=self.project, progress=record.tell)
        record.notes += lowerer.notes
        record.done("precision", {})
        record.notes += compile_prepared(job, prepared, self.project, record.tell, again=self.force)
        # What was asked for beyond, be it the gate, is not done: that is `prepared`, whatever `until` says.
        return Outcome(job, "prepared", record.problems(), record.rows, where=prepared.folder)


def _inspected(record: Record) -> tuple[onnx.ModelProto, bytes, tuple[Profile, ...]]:
    """The graph, as it is lowered and its own bytes, and the shapes that it is built for. Raises StageError."""
    from generator.engine.fold.plugin import with_plugin
    from generator.engine.inspect import require, suspicious

    job, program = record.job, record.job.program
    record.tell("reading the graph")
    model, graph = job.read(record.project)
    if program.engine == "tensorrt" or program.asked == "auto":
        from generator.engine.precision.cast_first import cast_first

        model = cast_first(model)
    if program.asked != "auto":
        words, major = (program.engine, program.precision), tensorrt_major(job)
        seen = with_plugin(model) if program.engine == "tensorrt" and program.build.nms == "efficient" else model
        require(seen, *words, batched=job.model.max_batch_size > 0, tensorrt=major)
        record.notes += suspicious(seen, *words, tensorrt=major)
    profiles = profiles_of(job, model)
    record.done("inspect", {"graph.onnx": graph})
    return model, graph, profiles


def _judge(record: Record, model: onnx.ModelProto, graph: bytes, profiles: Sequence[Profile]) -> Judge:
    """What judges the engines, with what is worth knowing of it noted. Raises StageError."""
    from generator.engine.inspect import require_reference

    require_reference(model)
    record.tell("the gate set through FP32")
    judge = Judge(record.job, graph, record.project, profiles)
    record.notes += judge.notes
    return judge


def _not_written(error: OSError) -> Finding:
    """What the operating system refuses between the stages: mostly room for temporary files."""
    what = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "a temporary file"
    reason = error.strerror or str(error)
    hint = "make room; TMPDIR names another folder for temporary files"
    return Finding("TK983", f"{what} cannot be read or written: {reason}", hint, "engine")
