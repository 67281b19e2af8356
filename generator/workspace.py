"""Many specs on many targets at once: every problem of every one in one run, and the trees that they render to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from generator.collector import did_you_mean, field_path, names
from generator.load import Loaded, load
from generator.plan import Places, Plan
from generator.problems import Problem, ProblemsError, Severity, UserError, errors
from generator.project import EMBEDDED, OneRun, Project
from generator.render import Files, render
from generator.resolve import Resolved, resolve
from generator.spec import Spec
from generator.spec.models import EngineModel, Model, onnx_versions


@dataclass
class Workspace:
    """Specs resolved on their targets. `problems` holds everything found, notes included."""

    project: Project
    resolved: dict[str, list[Resolved]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    specs: list[Loaded[Spec]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._told = set(self.problems)

    @property
    def plans(self) -> dict[str, list[Plan]]:
        """The Plans by target."""
        return {target: [resolved.plan for resolved in found] for target, found in self.resolved.items()}

    def add(self, problems: Iterable[Problem]) -> None:
        """Takes problems in, each once: the targets of a spec share most of theirs."""
        for problem in problems:
            if problem not in self._told:
                self._told.add(problem)
                self.problems.append(problem)

    def stop_on_errors(self) -> None:
        """Raises ProblemsError with everything found when any of it is an error."""
        if errors(self.problems):
            raise ProblemsError(self.problems)


def open_workspace(
    project: Project, specs: Sequence[Path] = (), target: str | None = None, *, first_only: bool = False
) -> Workspace:
    """Loads and resolves `specs` (default: all of the project) on `target` (default: each spec's own targets).

    With `first_only` it is only the first of each spec's own: `embedded`, unless the spec is not for it.

    Raises UserError when there is no spec at all; problems of specs are collected in the result.
    """
    loaded = load(list(specs) or all_specs(project), Spec)
    work = Workspace(project, problems=list(loaded.problems), specs=list(loaded.documents))
    loaded = replace(loaded, documents=_made(work, loaded.documents, wanted=bool(specs)))
    run = OneRun(project.root)
    # A target asked for of all specs is of those that have it; of named specs, or if none has it, of each.
    of_each = bool(specs) or not any(target in targets_of(document.value) for document in loaded.documents)
    for document in loaded.documents:
        own = targets_of(document.value)[: 1 if first_only else None]
        if target is not None and of_each:
            own = [target]
        for name in own if target is None else [name for name in own if name == target]:
            _resolve(work, document, name, run)
    _check_names(work)
    return work


def _made(work: Workspace, documents: Sequence[Loaded[Spec]], *, wanted: bool) -> list[Loaded[Spec]]:
    """The specs whose ONNX files are there, or are to be there.

    A file that a script makes and that has not been made yet leaves its spec out: a note, or an error where only such
    specs were asked for.
    """
    missing = {document.path: not_made(document.value, work.project) for document in documents}
    severity = Severity.ERROR if wanted and all(missing.values()) else Severity.NOTE
    for document in documents:
        for path, file, script in missing[document.path]:
            problem = Problem(
                "TK234", Places(document.tree.file, document.tree)(*path), field_path(path),
                f"`{file}` has not been made yet: `{script}` makes it"
                + ("; the spec is left out" if severity is Severity.NOTE else ""),
                f"`tritonkit build {document.tree.file}` makes it and builds the engine", severity,
            )  # fmt: skip
            work.add([problem])
    return [document for document in documents if not missing[document.path]]


def not_made(spec: Spec, project: Project) -> list[tuple[tuple[str | int, ...], str, str]]:
    """Of every ONNX file that a script makes and that is not there: its place in the spec, itself, and the script."""
    models: dict[tuple[str | int, ...], EngineModel | Model] = {
        ("models", key): model for key, model in (spec.models or {}).items()
    }
    if spec.model is not None:
        models[("model",)] = spec.model
    return [
        ((*path, "onnx"), file, model.made_by)
        for path, model in models.items()
        if model.made_by is not None and model.onnx is not None
        for file in onnx_versions(model.onnx).values()
        if not project.has_file(file)
    ]


def all_specs(project: Project) -> list[Path]:
    """Every spec of the project. Raises UserError when there is none."""
    paths = sorted([*project.specs.glob("*.yaml"), *project.specs.glob("*.yml")])
    if not paths:
        raise UserError(f"there is no spec in {project.specs}", "`tritonkit init NAME` writes a first one")
    return paths


def specs_of(project: Project, pipelines: Sequence[str]) -> list[Path]:
    """The specs of these pipelines, for `open_workspace`: what is wrong with others is nothing to them.

    Raises UserError when one has none; ProblemsError when it may be one of those that cannot be read.
    """
    loaded = load(all_specs(project), Spec)
    known = sorted({document.value.name for document in loaded.documents})
    for name in pipelines:
        if name not in known:
            Workspace(project, problems=list(loaded.problems)).stop_on_errors()
            raise UserError(
                f"no spec here is of a pipeline `{name}`; there are {names(known)}", did_you_mean(name, known)
            )
    return [document.path for document in loaded.documents if document.value.name in pipelines]


def targets_of(spec: Spec) -> list[str]:
    """`embedded`, which is always there unless the spec says null of it, and the spec's own."""
    names = dict.fromkeys([EMBEDDED, *spec.targets])
    return [name for name in names if name not in spec.targets or spec.targets[name] is not None]


def _resolve(work: Workspace, document: Loaded[Spec], target: str, project: Project) -> None:
    places = Places(document.tree.file, document.tree)
    path, root = document.path.resolve(), project.root.resolve()
    spec_file = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    try:
        resolved = resolve(document.value, target, project, places, spec_file)
    except ProblemsError as error:
        # What a target that there is not would change is nothing to know.
        known = target in targets_of(document.value)
        work.add(error.problems if known else errors(error.problems))
        return
    work.add(resolved.notes)
    work.resolved.setdefault(target, []).append(resolved)


def _check_names(work: Workspace) -> None:
    """A model's name is its directory: two specs of one target cannot both have it."""
    for plans in work.plans.values():
        owners: dict[str, Plan] = {}
        for plan in plans:
            for name in model_names(plan):
                owner = owners.setdefault(name, plan)
                if owner is not plan:
                    place = plan.places("name")
                    message = f"model `{name}` is also rendered by {owner.spec_file}"
                    work.add([Problem("TK217", place, "name", message, "give one another name")])


def model_names(plan: Plan) -> list[str]:
    """Every model of the pipeline as it stands in the repository."""
    return [*(m.name for m in plan.models), *([plan.ensemble.name] if plan.ensemble else [])]


@dataclass(frozen=True)
class Tree:
    """A rendered repository: its files, and which pipeline each belongs to."""

    target: str
    files: Mapping[str, bytes]
    owners: Mapping[str, str]


def render_trees(work: Workspace, *, self_contained: bool = False) -> list[Tree]:
    """One tree a target. Raises ProblemsError with the problems of all plans."""
    trees, project = [], OneRun(work.project.root)
    found = Workspace(work.project, problems=list(work.problems))
    for target, plans in work.plans.items():
        files: Files = {}
        owners: dict[str, str] = {}
        for plan in plans:
            try:
                made = render(plan, project, self_contained=self_contained)
            except ProblemsError as error:
                found.add(error.problems)
                continue
            files.update(made)
            owners.update(dict.fromkeys(made, plan.name))
        trees.append(Tree(target, files, owners))
    found.stop_on_errors()
    return trees
