"""How building and running images says what a user can mend."""

from __future__ import annotations

from generator.problems import Place, Problem, ProblemsError


def refused(code: str, where: str, message: str, hint: str = "") -> ProblemsError:
    """The one problem; `where` is a file, an option or an image."""
    return ProblemsError([Problem(code, Place(where), "", message, hint)])
