"""How the traffic that was asked for is refused."""

from __future__ import annotations

from generator.problems import Place, Problem, ProblemsError


def refused(code: str, where: str, message: str, hint: str = "") -> ProblemsError:
    """The one problem; `where` is an option or a file."""
    return ProblemsError([Problem(code, Place(where), "", message, hint)])
