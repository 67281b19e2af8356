"""What is wrong with a user's input: one type for every stage, and the error that carries all of them."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Severity(enum.StrEnum):
    """How much a problem matters: an error stops the run, a warning and a note do not."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Place:
    """A position in a file. `line` and `column` count from 1; 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, where, and how to mend it.

    `code` is stable (`generator.codes` lists them all), `field` is the path inside the document
    (`batching.preferred[1]`, empty for the whole), `message` says what was found and what is valid,
    `hint` how to mend it (may be empty).
    """

    code: str
    place: Place
    field: str
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR


class UserError(Exception):
    """Something that the user can mend. The text is one clear sentence; `hint` says how, where it can.

    Commands print it without a traceback and exit with 1.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class ProblemsError(Exception):
    """Raised with *all* problems of a run; commands print them and exit with 1."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("; ".join(f"{p.code} {p.place} {p.field}: {p.message}" for p in self.problems))


def errors(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems that stop a run."""
    return tuple(p for p in problems if p.severity is Severity.ERROR)
