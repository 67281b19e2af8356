"""A model repository on disk: its models, each with its ModelConfig and where everything of it stands."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from generator.config.messages import ModelConfig
from generator.copied import CONFIG, files_of, hidden_in, is_left_behind
from generator.load.codes import FILE_UNREADABLE
from generator.pbtxt.reader import Read, read
from generator.problems import Place, Problem, ProblemsError, Severity, UserError, errors
from generator.write.names import version_number

RENDERED = "# Rendered by tritonkit"
MOST_LISTED = 5


@dataclass(frozen=True)
class Found:
    """One model: its directory and what its config.pbtxt says."""

    name: str
    folder: Path
    read: Read
    message: ModelConfig

    def place(self, path: str = "") -> Place:
        """Where a field stands (`ensemble_scheduling.step[1]`), else its nearest owner, else the file."""
        while path:
            node = self.read.tree.find(path)
            if node is not None:
                return self.read.source.place(node.name_at)
            path = path.rpartition(".")[0]
        return Place(self.read.source.file)

    @property
    def is_ensemble(self) -> bool:
        """Whether it is one to the server, or would be if it were valid."""
        return bool(self.message.platform == "ensemble" or self.message.HasField("ensemble_scheduling"))

    @property
    def members(self) -> list[str]:
        """The models of an ensemble's steps, each once."""
        return list(dict.fromkeys(step.model_name for step in self.message.ensemble_scheduling.step))

    @cached_property
    def files(self) -> dict[str, Path | None]:
        """What goes with it, by path in its directory; None stands for an empty version directory."""
        return files_of(self.folder)

    @cached_property
    def versions(self) -> list[int]:
        """Its version directories, in order."""
        numbers = (version_number(path.name) for path in self.folder.iterdir() if path.is_dir())
        return sorted(number for number in numbers if number is not None)


@dataclass
class Repository:
    """All models by name, and what is worth knowing about what is not among them."""

    folder: Path
    models: dict[str, Found] = field(default_factory=dict)
    notes: list[Problem] = field(default_factory=list)


def read_repository(folder: Path) -> Repository:
    """Reads every config.pbtxt. Raises ProblemsError with all problems of all of them, UserError where there is none.

    `folder` is also what places begin with.
    """
    if not folder.is_dir():
        raise UserError(f"there is no directory {folder}", "name a model repository")
    if (folder / CONFIG).is_file():
        raise UserError(
            f"{folder} is the directory of one model",
            f"name the repository that it stands in: {folder.resolve().parent}",
        )
    repository = Repository(folder)
    problems: list[Problem] = []
    for path in sorted(p for p in folder.iterdir() if p.is_dir()):
        if not (path / CONFIG).is_file():
            if not is_left_behind(path.name):  # as `.git` is; with a configuration it is a model to the server
                repository.notes.append(_without_config(path))
            continue
        try:
            said = read((path / CONFIG).read_bytes(), str(path / CONFIG))
        except OSError as error:
            message = f"the file cannot be read: {error.strerror}"
            problems.append(Problem(FILE_UNREADABLE, Place(str(path / CONFIG)), "", message))
            continue
        problems += said.problems
        if said.message is not None:
            repository.models[path.name] = Found(path.name, path, said, said.message)
    if errors(problems):
        raise ProblemsError([*repository.notes, *problems])
    if not repository.models:
        raise UserError(
            f"there is no model with a config.pbtxt in {folder}",
            "a repository holds a directory for each model, with a config.pbtxt in it",
        )
    repository.notes += problems
    for model in repository.models.values():
        repository.notes += _left_behind(model)
    return repository


def _without_config(path: Path) -> Problem:
    return Problem(
        "TK801", Place(str(path)), "", f"`{path.name}` has no config.pbtxt; only the server knows what it is",
        "write down what the server says of it (`GET /v2/models/NAME/config`), and import again", Severity.WARNING,
    )  # fmt: skip


def _left_behind(model: Found) -> list[Problem]:
    """What of a model's directory does not go with it."""
    notes = []
    comments = model.read.source.comments
    if comments and not any(RENDERED in comment.text for comment in comments):
        count = "a comment stays" if len(comments) == 1 else f"{len(comments)} comments stay"
        text, hint = f"{count} behind", "the spec is the place for them now"
        notes.append(Problem("TK805", comments[0].place, "", text, hint, Severity.NOTE))
    hidden = hidden_in(model.folder)
    seen = sorted(path for path in model.folder.rglob("*") if not is_left_behind(path.name))
    nothing = [path.relative_to(model.folder).as_posix() for path in seen if not (path.is_dir() or path.is_file())]
    files = model.files.items() if not model.is_ensemble else ()  # which runs nothing itself
    runnable = [path for path, file in files if file is not None and file.stat().st_mode & stat.S_IXUSR]
    place = Place(str(model.folder))
    if runnable:
        text = f"these files may be executed, and those that are rendered may not: {_listed(runnable)}"
        hint = "set the bit where the repository is served, or have the model do it before it starts one"
        notes.append(Problem("TK805", place, "", text, hint, Severity.WARNING))
    if hidden:
        text = f"hidden files stay behind: {_listed(hidden)}"
        notes.append(Problem("TK805", place, "", text, "rename what the model needs", Severity.NOTE))
    if nothing:
        text = f"these are no files, or links that lead nowhere, and stay behind: {_listed(nothing)}"
        notes.append(Problem("TK805", place, "", text, "put the files there", Severity.WARNING))
    return notes


def _listed(paths: list[str]) -> str:
    """The first few."""
    shown = [f"`{path}`" for path in paths[:MOST_LISTED]]
    return ", ".join(shown) + (", …" if len(paths) > MOST_LISTED else "")


def unset(message: Any, *paths: str) -> None:
    """Clears fields of a message that are given by path (`response_cache`, `ensemble_scheduling.step`)."""
    for path in paths:
        *above, name = path.split(".")
        inner = message
        for part in above:
            inner = getattr(inner, part)
        inner.ClearField(name)
