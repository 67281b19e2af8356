"""How a load test says what a user can mend."""

from __future__ import annotations

from generator.problems import Place, Problem, ProblemsError


def refused(code: str, where: str, message: str, hint: str = "", *, field: str = "") -> ProblemsError:
    """The one problem; `where` is a file, an option or an address."""
    return ProblemsError([Problem(code, Place(where), field, message, hint)])
