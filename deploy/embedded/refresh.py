"""A project's specs and a server that runs: rendered for it at the start, and brought to it again while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.embedded import machine, state
from deploy.embedded.changes import Files, Hashes, Wanted, hashes
from deploy.embedded.control import Control
from deploy.embedded.state import ServerRecord
from deploy.embedded.update import Update, Updater, called_first
from generator.lint.specs import checked_trees
from generator.plan import Plan
from generator.problems import Problem, UserError
from generator.project import Project
from generator.resolve.targets import EMBEDDED_BACKENDS
from generator.workspace import Tree, Workspace, open_workspace, specs_of
from generator.write import WriteReport, write
from generator.write.manifest import load as load_manifest


@dataclass(frozen=True)
class ForEmbedded:
    """All specs of a project, rendered in memory for the embedded server."""

    work: Workspace
    plans: Sequence[Plan]
    tree: Tree

    @property
    def root(self) -> Path:
        """The repository that it belongs into."""
        return self.work.project.repository(self.tree.target)

    def write(self) -> WriteReport:
        """Makes the repository be so."""
        return write(self.tree.files, self.root, owner_of=self.tree.owners.__getitem__, prune=True, whole=True)


def render_for(project: Project, target: str, pipelines: Sequence[str] = ()) -> ForEmbedded:
    """Every spec of the target, or those of `pipelines`.

    Raises ProblemsError, and UserError when the embedded server cannot serve it or a pipeline has no spec.
    """
    return render_specs(project, target, specs_of(project, pipelines) if pipelines else ())


def render_specs(project: Project, target: str, specs: Sequence[Path] = ()) -> ForEmbedded:
    """Every spec of the target, or these files. Raises as `render_for`."""
    work = open_workspace(project, specs, target)
    work.stop_on_errors()
    plans = work.plans[target]
    foreign = sorted({m.backend for plan in plans for m in plan.models if m.backend} - EMBEDDED_BACKENDS)
    if foreign or any(plan.target.gpu for plan in plans):
        raise UserError(
            f"the embedded server cannot serve target `{target}`: it has no GPU and only the Python backend"
            + (f", and the target needs {', '.join(foreign)}" if foreign else ""),
            "serve `--target embedded`",
        )
    [tree] = checked_trees(work, machine=machine.gpus())
    return ForEmbedded(work, plans, tree)


@dataclass(frozen=True)
class Refreshed:
    """What an update did to the server, and what is worth knowing of the specs and the files."""

    update: Update
    problems: list[Problem]


def refresh(
    project: Project, record: ServerRecord, runs: Path, pipelines: Sequence[str] = (), *,
    interrupt: bool = False, on_progress: Callable[[str], None] | None = None,
) -> Refreshed:  # fmt: skip
    """Brings a running server, and its repository, to the specs: of all pipelines, or of those that are named.

    `runs` is where its record is; with `interrupt` also changes during which requests fail are made. Waits for
    another update of this project's servers. Raises ProblemsError for the specs; UserError when that server serves
    something else, loads nothing while it runs, or did not load what is new: it then goes on with what it had,
    and the repository is as it was.
    """
    report = on_progress or (lambda _line: None)
    with state.updating(runs, lambda: report("waiting for another update to end")):
        # What the record said before is what the other update has changed.
        now = next(
            (r for r in state.running(runs) if (r.pid, r.start_ticks) == (record.pid, record.start_ticks)), record
        )
        return _refresh(project, now, runs, pipelines, interrupt=interrupt, on_progress=report)


def _refresh(
    project: Project, record: ServerRecord, runs: Path, pipelines: Sequence[str], *,
    interrupt: bool, on_progress: Callable[[str], None],
) -> Refreshed:  # fmt: skip
    root = project.repository(record.target)
    if record.repositories != (str(root.resolve()),):
        raise UserError(
            f"the server at {record.http_address} serves {', '.join(record.repositories)}, which no spec of this "
            "project renders",
            "update a server that `tritonkit serve` runs without --repository",
        )
    if not record.updatable:
        raise UserError(
            f"the server at {record.http_address} was started without --updatable, so it loads nothing while it runs",
            "stop it and start it again, with `tritonkit serve --updatable` if it is to be updated while it serves",
        )
    made = render_for(project, record.target, pipelines)
    before, owned_before = _on_disk(root)
    files, loaded, report = made.tree.files, record.files, WriteReport(root)
    if pipelines:
        files = {path: data for path, data in files.items() if made.tree.owners[path] in pipelines}
        ours = {path.partition("/")[0] for path in files}
        ours |= {path.partition("/")[0] for path, owner in owned_before.items() if owner in pipelines}
        loaded = {path: value for path, value in loaded.items() if path.partition("/")[0] in ours}

    def bring() -> None:
        nonlocal report
        owner_of = made.tree.owners.__getitem__
        report = write(files, root, owner_of=owner_of, prune=True, whole=not pipelines)

    def put_back() -> None:
        write(before, root, owner_of=owned_before.__getitem__, prune=True, whole=True)

    wanted = Wanted(files, called_first(files))
    others = {path: value for path, value in record.files.items() if path not in loaded}

    def note(known: Hashes) -> None:
        state.write(runs, replace(record, files={**others, **known}))

    with Control(record) as control:
        updater = Updater(control, loaded, root, hashes(before), interrupt=interrupt, on_progress=on_progress)
        update = updater.run(wanted, bring, put_back, note)
    return Refreshed(update, [*made.work.problems, *report.warnings])


def _on_disk(root: Path) -> tuple[Files, Mapping[str, str]]:
    """The generated files that a repository has now, and the pipeline of each."""
    entries = load_manifest(root)
    files = {path: (root / path).read_bytes() for path in entries if (root / path).is_file()}
    return files, {path: entries[path].pipeline for path in files}
