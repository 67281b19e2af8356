"""A model repository read, drafted as specs and verified: all that an import does but writing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from generator.adopt.repository import Found, Repository, read_repository
from generator.adopt.specs import Draft, Drafter, not_carried
from generator.adopt.verify import Overlay, too_long
from generator.collector import names
from generator.config import since
from generator.problems import Place, Problem, ProblemsError, Severity, UserError, errors
from generator.project import EMBEDDED, Project
from generator.resolve.targets import EMBEDDED_BACKENDS, EMBEDDED_SERVER, NEWEST
from generator.spec.base import ModelName, ProjectPath
from generator.write.names import PLACEHOLDER, is_valid

MODELS = "models"
OURS = {PLACEHOLDER, "tritonkit.json"}  # what is rendered into an ensemble's version directory
ANY_GPU = "any"


@dataclass(frozen=True)
class Where:
    """The target that the specs are for, and what it is."""

    target: str
    server: str | None = None
    gpu: str | None = None


@dataclass(frozen=True)
class Adopted:
    """What is to be written: the text of each spec by name, and files by their path in the project.

    A file that is None is empty: it keeps a version directory.
    """

    repository: Path
    target: str
    drafts: Mapping[str, Draft]
    texts: Mapping[str, str]
    copies: Mapping[str, Path | None]
    runs_on: Mapping[str, tuple[str, ...]]  # the targets of each spec
    notes: tuple[Problem, ...] = ()
    folders: tuple[str, ...] = field(default=())  # of the copies, one a model


def adopt(folder: Path, project: Project, where: Where) -> Adopted:
    """The specs of the repository `folder` for `project`, each verified to come back.

    Raises UserError where there is no repository, or none that this project and target can be for, ProblemsError
    with all that stands in the way of carrying it.
    """
    _check_where(folder, project, where)
    repository = read_repository(folder)
    models = repository.models
    problems = [*repository.notes, *_not_carried(repository, where)]
    if errors(problems):
        raise ProblemsError(problems)
    above = _place_in(project, folder)
    folders = {name: f"{above or MODELS}/{name}" for name in models}
    overlay = Overlay(project.root, {} if above else {folders[name]: found.folder for name, found in models.items()})
    drafter = Drafter(repository, folders, overlay, where.target, _facts(repository, where))
    drafts = drafter.drafts()
    problems += [*drafter.problems, *_unused(drafts, folders)]
    if errors(problems):
        raise ProblemsError(problems)
    targets = _targets(drafter, drafts, repository, where)
    texts = {draft.name: draft.text(_head(folder), targets[draft.name]) for draft in drafts}
    problems += [
        not_carried(draft.models[draft.name], why) for draft in drafts if (why := too_long(texts[draft.name]))
    ]
    if errors(problems):
        raise ProblemsError(problems)
    copies = {} if above else _copies(drafts, folders)
    return Adopted(
        folder, where.target, {draft.name: draft for draft in drafts}, texts, copies,
        {name: _runs_on(targets[name]) for name in texts}, tuple(problems),
        tuple(dict.fromkeys("/".join(path.split("/")[:2]) for path in copies)),
    )  # fmt: skip


def _check_where(folder: Path, project: Project, where: Where) -> None:
    """Raises UserError for a target that cannot be what is said of it, and a project inside of the repository."""
    if where.target == EMBEDDED and (where.server or where.gpu):
        raise UserError(
            f"the target is `{EMBEDDED}`, the server on this machine (Triton {EMBEDDED_SERVER}, no GPU): it has no "
            "`--server` and no `--gpu`",
            "leave them out, or name another target with --target",
        )
    root = project.root.resolve()
    if root.is_relative_to(folder.resolve()):
        raise UserError(
            f"specs and models would be written into the repository itself, since the project is {root}",
            "make a folder for the project elsewhere and import there, or name it: `--out FOLDER/specs`",
        )


def _facts(repository: Repository, where: Where) -> dict[str, Any]:
    """The fields of the target: what was said of it, and a GPU where a model wants one."""
    wanted = where.target != EMBEDDED and any(_wants_gpu(found) for found in repository.models.values())
    facts = {"server": where.server, "gpu": where.gpu or (ANY_GPU if wanted else None)}
    return {name: value for name, value in facts.items() if value is not None}


def _not_carried(repository: Repository, where: Where) -> list[Problem]:
    """Names and files that a project cannot hold, and fields that the target's server does not know."""
    problems = []
    release = EMBEDDED_SERVER if where.target == EMBEDDED else where.server or NEWEST
    for found in repository.models.values():
        if not _valid(ModelName, found.name):
            problems.append(Problem(
                "TK802", Place(str(found.folder)), "", f"`{found.name}` is no name of a model that a spec can say",
                "rename it: letters, digits, `_`, `-` and single `.`, a letter or digit in front, at most 128",
            ))  # fmt: skip
        problems += [
            Problem("TK804", Place(str(found.folder / path)), "", f"{path!r} is no name of a rendered file",
                    "use letters, digits, `_`, `-` and `.` in each part, the first of them a letter, a digit or `_`")
            for path in found.files if not is_valid(path)
        ]  # fmt: skip
        problems += since.check(found.message, release, lambda path, found=found: (found.place(path), path))  # type: ignore[misc]
    return problems


def _place_in(project: Project, folder: Path) -> str:
    """The path of the repository in the project; empty where its files have to be copied.

    What is rendered stands in model_repository/, so that what stands there is no source of it.
    """
    root, real = project.root.resolve(), folder.resolve()
    if not real.is_relative_to(root) or real.is_relative_to(root / "model_repository"):
        return ""
    path = real.relative_to(root).as_posix()
    return path if _valid(ProjectPath, path) else ""


def _targets(
    drafter: Drafter, drafts: list[Draft], repository: Repository, where: Where
) -> dict[str, dict[str, Any]]:
    """The `targets` of each spec by name. What cannot run on the embedded server is not for it."""
    found: dict[str, dict[str, Any]] = {}
    for draft in drafts:
        runs = all(_runs_embedded(model, repository) for model in draft.models.values())
        fits = where.target == EMBEDDED or (runs and not drafter.why_not(draft, EMBEDDED, drafter.where))
        found[draft.name] = ({} if fits else {EMBEDDED: None}) | drafter.where
    return found


def _runs_on(targets: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the targets that a spec with these `targets` is for: the embedded server, unless it says no."""
    return tuple(name for name in dict.fromkeys([EMBEDDED, *targets]) if targets.get(name, {}) is not None)


def _runs_embedded(found: Found, repository: Repository) -> bool:
    """Whether the server as tritonkit starts it could load it: Python and ensembles, no GPU, nothing to complete."""
    if not (found.message.input and found.message.output):
        return False
    if _wants_gpu(found):
        return False
    if found.is_ensemble:
        return all(name in repository.models for name in found.members)
    return found.message.backend in EMBEDDED_BACKENDS


def _wants_gpu(found: Found) -> bool:
    message = found.message
    is_plan = "tensorrt" in (message.backend, message.platform.removesuffix("_plan"))
    return is_plan or any(group.gpus or group.kind == group.KIND_GPU for group in message.instance_group)


def _unused(drafts: list[Draft], folders: Mapping[str, str]) -> list[Problem]:
    """Notes on files of an ensemble of a flow that serve nothing."""
    notes = []
    for draft in drafts:
        found = draft.models[draft.name]
        labels = {tensor.get("labels") for tensor in draft.data["outputs"].values()}
        files = [
            path for path, file in found.files.items() if file is not None and path.rpartition("/")[2] not in OURS
        ]
        unused = [path for path in files if f"{folders[draft.name]}/{path}" not in labels]
        if draft.form == "flow" and unused:
            text = f"files of the ensemble stay behind, since it runs nothing itself: {names(unused)}"
            notes.append(Problem("TK805", Place(str(found.folder)), "", text, "", Severity.NOTE))
    return notes


def _copies(drafts: list[Draft], folders: Mapping[str, str]) -> dict[str, Path | None]:
    """What goes into the project: each model's files; of the ensemble of a flow, which runs nothing, its labels."""
    copies: dict[str, Path | None] = {}
    for draft in drafts:
        labels = {tensor.get("labels") for tensor in draft.data["outputs"].values()}
        for name, found in draft.models.items():
            paths = {f"{folders[name]}/{path}": file for path, file in found.files.items()}
            only_labels = draft.form == "flow" and name == draft.name
            copies |= {path: file for path, file in paths.items() if not only_labels or path in labels}
            if not (paths or only_labels):  # the folder has to be there
                copies[f"{folders[name]}/{PLACEHOLDER}"] = None
    return copies


def _head(folder: Path) -> str:
    return f"Imported by tritonkit from {folder.resolve().name}/."


def _valid(kind: Any, text: str) -> bool:
    try:
        TypeAdapter(kind).validate_python(text)
    except ValidationError:
        return False
    return True
