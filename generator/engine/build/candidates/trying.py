"""The engines that are tried for a job: compiled, judged by the gate, and timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from generator.engine.build.candidates.choices import Choice
from generator.engine.build.candidates.compiling import Built, compile_choice, compiler_of
from generator.engine.build.candidates.presence import seems_here
from generator.engine.build.candidates.runners import runner_of
from generator.engine.build.gate.judge import Judge
from generator.engine.build.lower.lowered import QUANTISED, Lowered
from generator.engine.build.lower.lowerer import Lowerer, words_of
from generator.engine.build.outcome import Row
from generator.engine.build.record import Record
from generator.engine.compile.base import Profile
from generator.engine.errors import Finding, StageError
from generator.engine.runner import Runner
from generator.engine.validate.shapes import first_line
from generator.problems import Problem


def is_missing(choice: Choice, record: Record) -> bool:
    """Whether nothing compiles it here, which then goes into the rows."""
    why = compiler_of(choice, record.job.program, record.project).missing()
    if why:
        record.rows.append(Row(choice, why=why, absent=not seems_here(choice)))
    return bool(why)


def compiled(
    choice: Choice, profiles: Sequence[Profile], lowerer: Lowerer, record: Record, *, alone: bool
) -> Built | None:
    """One choice compiled; of several, one that cannot be is only left out, unless it is the spec's torch factory.

    `alone`: raises StageError, whatever it is.
    """
    try:
        lowered = _lowered(choice, lowerer, record)
        return compile_choice(record.job, choice, profiles, lowered, project=record.project, progress=record.tell)
    except StageError as error:
        if alone or any(finding.code == "TK964" for finding in error.findings):
            raise
        record.failed(choice, error.findings)
        return None


def _lowered(choice: Choice, lowerer: Lowerer, record: Record) -> Lowered:
    ranges: dict[str, bytes | str] = {}
    build = record.job.program.build
    by_tensorrt = choice.engine == "tensorrt" and build.int8_by == "tensorrt"
    if choice.precision in QUANTISED and build.quantizer == "tritonkit" and not by_tensorrt:
        ranges = {"ranges.json": lowerer.ranges(words_of(choice.engine), record.tell).text()}
    record.done("calibrate", ranges)
    in_graph = getattr(compiler_of(choice, record.job.program, record.project), "precision_in_graph", True)
    lowered = lowerer.lower(choice.engine, choice.precision, record.tell, in_graph=in_graph)
    files: dict[str, bytes | str] = {f"{choice.engine}-{choice.precision}.onnx": lowered.given}
    if "mixed" in lowered.facts:
        files.update(record.keep_ranking(lowered.facts["mixed"]))
    record.done("precision", files)
    return lowered


def judged(built: Sequence[Built], judge: Judge, record: Record) -> list[Built]:
    """Those that pass; every verdict goes into the rows."""
    good = []
    for one in built:
        record.tell(f"the gate set through {one.choice.title}")
        try:
            runner = runner_of(one.choice, one.compiled, record.job.program, record.project.root)
            try:
                verdict = judge.verdict(runner, one.choice.precision)
                activations = getattr(runner, "activation_bytes", None)
            finally:
                runner.close()
        except StageError as error:
            record.failed(one.choice, error.findings)
            continue
        except Exception as error:  # noqa: BLE001  (whatever an engine raises)
            message = f"{one.choice.title} cannot run on the gate set: {first_line(error)}"
            record.failed(one.choice, [Finding("TK978", message, "", "engine")])
            continue
        record.rows.append(
            Row(one.choice, verdict, size_bytes=len(one.compiled.data), activation_bytes=activations)
        )  # fmt: skip
        if verdict.passed:
            good.append(one)
    return good


def fastest(good: Sequence[Built], judge: Judge, record: Record) -> tuple[Built, str]:
    """The one to install, and why: the fastest of those that something serves. Latencies go into the rows."""
    from generator.engine.build.candidates.speed import fastest_of, measured

    runners: dict[str, Runner] = {
        one.choice.title: runner_of(one.choice, one.compiled, record.job.program, record.project.root) for one in good
    }
    try:
        found = measured(runners, judge.samples, record.job, judge.profiles, record.tell)
    finally:
        for runner in runners.values():
            runner.close()
    record.rows = [
        replace(row, latency={size: timing.facts() for size, timing in found.get(row.choice.title, {}).items()})
        for row in record.rows
    ]
    chosen, why = fastest_of([one for one in good if one.served] or list(good), found)
    return chosen, why.text


def why_refused(built: Sequence[Built], judge: Judge, graph: bytes, record: Record) -> list[Problem]:
    """Why nothing passed, which layers are to blame, and what to try next."""
    from generator.engine.build.gate.blamed import at_layers
    from generator.engine.validate.advice import advise
    from generator.engine.validate.blame import blame

    job = record.job
    problems = job.problems(record.failures)
    for one in built:
        verdict = next(row.verdict for row in record.rows if row.choice == one.choice)
        if verdict is None:
            continue  # it is among the failures
        if not one.lowered.graph:  # it was built elsewhere
            problems += job.problems(verdict.findings(["make it anew there, or let `tritonkit build` make one"]))
            continue
        if by := one.lowered.facts.get("int8_by"):
            hint = f"TensorRT chose the layers by `int8_by: {by}`; with `int8_by: qdq` some can keep their precision"
            problems += job.problems(verdict.findings([hint]))
            continue
        failed = [check.code for check in verdict.checks if not check.passed]
        record.tell("looking for the layers to blame")
        ranking = blame(graph, one.lowered.graph, judge.samples) if one.lowered.graph != graph else []
        if quantised := one.lowered.facts.get("quantised"):
            ranking = at_layers(ranking, job.read(record.project)[0], quantised["stay"])
        calibration = job.program.build.calibration
        hints = advise(
            one.choice.precision, ranking, method=calibration.method if calibration else "",
            mixed=job.program.build.mixed, failed=failed, kept=job.program.build.keep.nodes,
            bf16=one.choice.engine != "onnxruntime" or one.choice.cuda,
        )  # fmt: skip
        problems += job.problems(verdict.findings([str(hint) for hint in hints]))
    return problems
