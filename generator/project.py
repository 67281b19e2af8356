"""Where things are: the project's root (a clone, or any folder with `specs/`) and the paths in it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from generator.problems import UserError

EMBEDDED = "embedded"
T = TypeVar("T")


class NoProjectError(UserError):
    """Raised outside of any project; the message says what to do."""


@dataclass(frozen=True)
class Project:
    """A folder with `specs/`; every path in a spec counts from `root`."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Project:
        """The nearest folder at or above `start` (default: the current one) that holds `specs/`.

        Raises NoProjectError when there is none.
        """
        start = (start or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            if (folder / "specs").is_dir():
                return cls(folder)
        raise NoProjectError(
            f"there is no `specs` folder in {start} or above it",
            "run this inside a clone of tritonkit, or make the folder (`mkdir specs`) where your project is",
        )

    @property
    def specs(self) -> Path:
        """The folder of the specs."""
        return self.root / "specs"

    def repository(self, target: str) -> Path:
        """Where the model repository of a target is rendered to."""
        return self.root / "model_repository" / target

    def path(self, relative: str) -> Path:
        """A path of a spec on disk."""
        return self.root / relative

    def has_folder(self, relative: str) -> bool:
        """Whether there is such a folder; a path that cannot be one (too long) is none."""
        try:
            return self.path(relative).is_dir()
        except (OSError, ValueError):
            return False

    def has_file(self, relative: str) -> bool:
        """Whether there is such a file; a path that cannot be one (too long) is none."""
        try:
            return self.path(relative).is_file()
        except (OSError, ValueError):
            return False

    def read(self, relative: str) -> bytes:
        """The contents of a file of a spec. Raises OSError."""
        return self.once(("contents", relative), self.path(relative).read_bytes)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:  # noqa: ARG002  (OneRun's)
        """What `make` gives; a OneRun asks it once a key."""
        return make()


@dataclass(frozen=True)
class OneRun(Project):
    """The project for the length of one run: what specs have in common is read once, and they share it."""

    _made: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gave the first time that it was asked for by this `key`."""
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made
