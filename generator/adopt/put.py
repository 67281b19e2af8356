"""What was imported becomes files of a project: all of them, or on any error none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from generator.adopt.adopt import Adopted
from generator.load import load
from generator.problems import Place, Problem, ProblemsError
from generator.project import Project
from generator.spec import Spec


def put(adopted: Adopted, project: Project, out: Path, *, force: bool = False) -> list[Path]:
    """Writes the specs into `out` and the copied files into the project; the specs' files.

    With `force` specs and model folders of the same names are replaced. Raises ProblemsError with everything that is
    in the way, OSError where the system refuses; nothing has changed then.
    """
    specs = {out / f"{name}.yaml": text for name, text in adopted.texts.items()}
    folders = [project.root / folder for folder in adopted.folders]
    _check(specs, folders, out, force=force)
    with _transaction([*specs, *folders]) as staged:
        for path, text in specs.items():
            staged(path).write_text(text, encoding="utf-8")
        for relative, file in adopted.copies.items():
            above, name, inside = relative.split("/", 2)
            place = staged(project.root / above / name) / inside
            place.parent.mkdir(parents=True, exist_ok=True)
            if file is None:
                place.touch()
            else:
                shutil.copyfile(file, place)
    return list(specs)


def _check(specs: Iterable[Path], folders: Iterable[Path], out: Path, *, force: bool) -> None:
    """Raises ProblemsError with what is in the way of the files that are to be."""
    wanted = list(specs)
    problems = [
        _in_the_way(path, "is there already", "`--force` replaces it")
        for path in [*wanted, *folders]
        if os.path.lexists(path) and not force
    ]
    names = {path.stem: path.resolve() for path in wanted}
    for other in load([out], Spec).documents if out.is_dir() else []:
        name = other.value.name
        if names.get(name, other.path.resolve()) != other.path.resolve():
            what = f"is a spec of a pipeline `{name}` already"
            problems.append(_in_the_way(other.path, what, "rename that pipeline, or move the spec away"))
    if problems:
        raise ProblemsError(problems)


def _in_the_way(path: Path, what: str, hint: str) -> Problem:
    return Problem("TK806", Place(str(path)), "", f"{path.name} {what}", hint)


class _Stage:
    """A hidden folder beside each final place: renaming within one file system is one step."""

    def __init__(self) -> None:
        self.folders: dict[Path, Path] = {}
        self.made: list[Path] = []

    def beside(self, final: Path) -> Path:
        """The stage in the folder of `final`, which is made with its parents if need be."""
        parent = final.parent
        if parent not in self.folders:
            missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
            parent.mkdir(parents=True, exist_ok=True)
            self.made += missing
            self.folders[parent] = Path(tempfile.mkdtemp(prefix=".import-", dir=parent))
            for name in ("new", "old"):
                (self.folders[parent] / name).mkdir()
        return self.folders[parent]


@contextmanager
def _transaction(finals: Iterable[Path]) -> Iterator[_Where]:
    """Yields where each final path is built; on the way out all of them are exchanged, or on an error none."""
    stage, moved = _Stage(), []
    places = list(finals)
    done = False
    try:
        yield _Where(stage)
        for final in places:
            beside = stage.beside(final)
            if os.path.lexists(final):
                final.rename(beside / "old" / final.name)
                moved.append((beside / "old" / final.name, final))
            (beside / "new" / final.name).rename(final)
            moved.append((final, beside / "new" / final.name))
        done = True
    finally:
        if not done:
            for now, before in reversed(moved):
                now.rename(before)
        for folder in stage.folders.values():
            shutil.rmtree(folder, ignore_errors=True)
        for folder in () if done else stage.made:
            folder.rmdir()


class _Where:
    """Says where a final path is built."""

    def __init__(self, stage: _Stage) -> None:
        self._stage = stage

    def __call__(self, final: Path) -> Path:
        return self._stage.beside(final) / "new" / final.name
