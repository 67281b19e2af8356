"""`tritonkit build`: specs become engines that have passed their gate."""

from __future__ import annotations

import math
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from generator.engine.build.outcome import Outcome

STAGES = ("inspect", "calibrate", "precision", "compile", "validate", "measure")


@click.command("build")
@click.argument("specs", nargs=-1, metavar="[SPEC]...", type=click.Path(path_type=Path))
@click.option("--target", help="Only this target; else every target of each spec.")
@click.option("--force", is_flag=True, help="Build what is current too, and use nothing from the cache.")
@click.option("--until", type=click.Choice(STAGES), help="Stop after this stage, and install nothing.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False),
              help="Write what each stage made into this folder, to look at.")  # fmt: skip
@click.option("--from", "brought", metavar="[MODEL=]FILE",
              help="Judge and install this file, which was built elsewhere, in the place of one engine.")  # fmt: skip
@click.option("--compare", "old", type=click.Path(path_type=Path),
              help="An earlier engine.json (or its folder): refuse what is worse.")  # fmt: skip
@click.option("--max-slower", type=click.FloatRange(min=0), default=10.0, show_default=True,
              help="With --compare: how much slower it may be, in percent.")  # fmt: skip
@click.option("--max-drop", type=click.FloatRange(min=0), default=0.005, show_default=True,
              help="With --compare: how much of its accuracy it may lose.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def command(
    specs: tuple[Path, ...], target: str | None, force: bool, until: str | None, keep: Path | None,
    brought: str | None, old: Path | None, max_slower: float, max_drop: float, as_json: bool,
) -> None:  # fmt: skip
    """Build the engines of SPECs (default: all in specs/): lower, compile, judge, time, install.

    An engine that misses its accuracy is not installed, and what was there stays.
    """
    from generator.engine.build.compare import Limits, check_same, read_manifest
    from generator.engine.build.elsewhere.taking import one_of
    from generator.engine.build.jobs import jobs_of
    from generator.engine.build.make import make_missing
    from generator.engine.build.run import Builder
    from generator.engine.compile.onnxruntime import library
    from generator.load import load
    from generator.problems import errors
    from generator.project import Project
    from generator.spec import Spec
    from generator.workspace import all_specs, open_workspace
    from tritonkit.cli.output import print_json, progress, seldom, show_problems
    from tritonkit.cli.signals import interrupted_later, terminate_as_interrupt

    project = Project.find()
    if math.isnan(max_slower) or math.isnan(max_drop):
        raise click.UsageError("--max-slower and --max-drop are numbers; found nan")
    against = None if old is None else read_manifest(old)
    limits = Limits(max_slower / 100, max_drop)
    with terminate_as_interrupt(), _temporary_files(), progress("reading the specs") as every:
        tell = seldom(every)
        documents = load(list(specs) or all_specs(project), Spec).documents
        make_missing(project, [document.value for document in documents], tell)
        work = open_workspace(project, specs, target)
        work.stop_on_errors()
        builder = Builder(project, tell, force=force, until=until, keep=keep, against=against, limits=limits)
        jobs = jobs_of(work)
        if against is not None:
            check_same(against, jobs)
        taken = None if brought is None else one_of(jobs, brought)
        if taken is not None or not all(builder.is_done(job) for job in jobs):
            with interrupted_later(), suppress(ImportError):  # what lacks one says so itself
                import onnx  # noqa: F401

                library()
        outcomes = [builder.build(job) for job in jobs] if taken is None else [builder.take(*taken)]
    # What `auto` is served by until it is measured is nothing to tell while it is.
    told = [problem for problem in work.problems if problem.code != "TK235"]
    problems = [*told, *(problem for outcome in outcomes for problem in outcome.problems)]
    show_problems(problems)
    if as_json:
        print_json([outcome.to_json() for outcome in outcomes])
    else:
        _report(outcomes)
    if errors(problems) or any(outcome.status == "refused" for outcome in outcomes):
        click.get_current_context().exit(1)


@contextmanager
def _temporary_files() -> Iterator[None]:
    """All of the build's are in one folder, which goes in the end, wherever an interrupt falls."""
    import tempfile

    from generator.whole_file import passing_folder

    before = tempfile.tempdir
    with passing_folder(Path(tempfile.gettempdir()), "tritonkit-build-") as folder:
        tempfile.tempdir = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before


def _report(outcomes: Sequence[Outcome]) -> None:
    """A table of every engine that was tried, why others were not, and a line on what there is now."""
    from tritonkit.cli.build_table import show_tried
    from tritonkit.cli.output import say, shown_path

    show_tried(outcomes)
    for outcome in outcomes:
        untried: dict[str, list[str]] = {}
        for row in outcome.rows:
            if row.verdict is None and not (outcome.status == "prepared" and _has_plan(outcome.where)):
                untried.setdefault(row.why, []).append(row.choice.title)
        for why, titles in untried.items():
            say(f"{outcome.job.title}: without {', '.join(titles)}: {why}")
        where = "" if outcome.where is None else f" {shown_path(outcome.where)}"
        said = {
            "current": "is what the spec asks for:",
            "installed": "installed in",
            "prepared": _prepared(outcome.where),
            "looked": "stopped there; nothing is installed",
            "refused": "not installed",
        }[outcome.status]
        say(f"{outcome.job.title}: {said}{where}")


def _has_plan(where: Path | None) -> bool:
    from generator.engine.compile.trtexec import PLAN

    return where is not None and (where / PLAN).exists()


def _prepared(where: Path | None) -> str:
    if _has_plan(where):
        return "cannot be judged here; graph, commands and plan are in"
    return "cannot be compiled here; graph and commands are in"
