"""The stable codes of sending."""

from __future__ import annotations

from generator.problems import Place, Problem, ProblemsError

CODES = {
    "TK860": "What the sender is asked for does not fit together",
    "TK861": "No server answers at the address",
    "TK862": "The sending process could not start, or ended without a report",
    "TK863": "Shared memory cannot be used with this server",
}


def mistake(code: str, field: str, message: str, hint: str = "") -> ProblemsError:
    """One problem of the orders, as an error to raise. `field` is the field of the orders it is about."""
    return ProblemsError([Problem(code, Place("load"), field, message, hint)])
