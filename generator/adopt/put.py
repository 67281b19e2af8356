"""What was imported becomes files of a project: all of them, or on any error none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from generator.adopt.adopt import Adopted
from generator.adopt.together import together
from generator.load import Loaded, load
from generator.problems import Place, Problem, ProblemsError
from generator.project import Project
from generator.spec import Spec
from generator.workspace import model_names, open_workspace


def put(adopted: Adopted, project: Project, out: Path, *, force: bool = False) -> list[Path]:
    """Writes the specs into `out` and the copied files into the project; the specs' files.

    With `force` specs and model folders of the same names are replaced. Raises ProblemsError with everything that is
    in the way, OSError where the system refuses; nothing has changed then.
    """
    specs = {out / f"{name}.yaml": text for name, text in adopted.texts.items()}
    folders = [project.root / folder for folder in adopted.folders]
    _check(adopted, project, out, specs=list(specs), folders=folders, force=force)
    with together([*specs, *folders]) as built:
        for path, text in specs.items():
            built[path].write_text(text, encoding="utf-8")
        for relative, file in adopted.copies.items():
            above, name, inside = relative.split("/", 2)
            place = built[project.root / above / name] / inside
            place.parent.mkdir(parents=True, exist_ok=True)
            if file is None:
                place.touch()
            else:
                shutil.copyfile(file, place)
    return list(specs)


def _check(
    adopted: Adopted, project: Project, out: Path, *, specs: list[Path], folders: list[Path], force: bool
) -> None:
    """Raises ProblemsError with what is in the way of the files that are to be."""
    problems = [
        _in_the_way(path, f"{path.name} is there already", "`--force` replaces it")
        for path in [*specs, *folders]
        if os.path.lexists(path) and not force
    ]
    problems += _of_the_repository(adopted, out, folders)
    replaced = {path.resolve() for path in specs}
    around = [folder for folder in dict.fromkeys([project.specs, out]) if folder.is_dir()]
    others = {spec.path.resolve(): spec for spec in load(around, Spec).documents}
    problems += _same_names(adopted, project, [spec for path, spec in others.items() if path not in replaced])
    if problems:
        raise ProblemsError(problems)


def _of_the_repository(adopted: Adopted, out: Path, folders: Iterable[Path]) -> Iterator[Problem]:
    """What would be written into the repository that is read, or in place of what it is made of: never, through
    whatever links, since what stands there may be the only one.
    """
    repository = adopted.repository.resolve()
    if out.resolve().is_relative_to(repository):
        message = f"{out} lies in the repository that is imported"
        yield _in_the_way(out, message, "write the specs elsewhere: the server takes a folder there for a model")
    models = [found for draft in adopted.drafts.values() for found in draft.models.values()]
    sources = {repository, *(found.folder.resolve() for found in models)}
    sources |= {file.resolve() for file in adopted.copies.values() if file is not None}
    around = {folder for source in sources for folder in source.parents}
    for folder in folders:
        place = folder.resolve()
        if place in around or not sources.isdisjoint((place, *place.parents)):
            message = f"{folder.name} leads to {place}, which is of the repository that is imported"
            yield _in_the_way(folder, message, f"make {folder.parent} a folder of the project's own, without links")


def _same_names(adopted: Adopted, project: Project, others: list[Loaded[Spec]]) -> Iterator[Problem]:
    """Specs that stay, of which a pipeline has the name of one that is to be, or on the same target a model."""
    left = []
    for other in others:
        if other.value.name in adopted.texts:
            message = f"{other.path.name} is a spec of a pipeline `{other.value.name}` already"
            yield _in_the_way(other.path, message, "rename that pipeline, or move the spec away")
        else:
            left.append(other.path)
    runs_on = {name: adopted.runs_on[draft.name] for draft in adopted.drafts.values() for name in draft.models}
    plans = open_workspace(project, left).plans if left else {}  # those without mistakes
    for target, plan in ((target, plan) for target, found in plans.items() for plan in found):
        for name in model_names(plan):
            if target in runs_on.get(name, ()):
                message = f"target `{target}` has a model `{name}` already"
                hint = "rename one of the two, or move this spec away"
                yield Problem("TK806", plan.places("name"), "name", message, hint)


def _in_the_way(path: Path, message: str, hint: str) -> Problem:
    return Problem("TK806", Place(str(path)), "", message, hint)
