"""Collects problems with their positions, so that one run reports all of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from generator.plan import Places
from generator.problems import Problem, ProblemsError, Severity, errors

Path = tuple[str | int, ...]


def field_path(path: Path) -> str:
    """`("flow", 1, "inputs")` → `flow[1].inputs`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def names(values: Iterable[str]) -> str:
    """`` `a`, `b` `` in the given order, or `none`."""
    return ", ".join(f"`{v}`" for v in values) or "none"


def did_you_mean(found: str, valid: Iterable[str]) -> str:
    """A hint with the closest valid name, or an empty text where none is close."""
    close = difflib.get_close_matches(found, list(valid), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else ""


class Collector:
    """Problems of one spec. `place` finds positions in its file."""

    def __init__(self, place: Places) -> None:
        self.place = place
        self.problems: list[Problem] = []

    def error(self, code: str, path: Path, message: str, hint: str = "") -> None:
        """Something that stops the run."""
        self._add(code, path, message, hint, Severity.ERROR)

    def note(
        self, code: str, path: Path, message: str, hint: str = "", *, severity: Severity = Severity.NOTE
    ) -> None:
        """Something to know, or with WARNING to mend, which stops nothing."""
        self._add(code, path, message, hint, severity)

    def _add(self, code: str, path: Path, message: str, hint: str, severity: Severity) -> None:
        problem = Problem(code, self.place(*path), field_path(path), message, hint, severity)
        if problem not in self.problems:
            self.problems.append(problem)

    def stop_on_errors(self) -> None:
        """Raises ProblemsError with everything collected when any of it is an error."""
        if errors(self.problems):
            raise ProblemsError(self.problems)
