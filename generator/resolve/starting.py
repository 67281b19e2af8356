"""What the spec asks for and only the command that starts the server can give."""

from __future__ import annotations

from generator.collector import Collector
from generator.plan import Plan
from generator.server_flags import needs_of


def note_flags(plan: Plan, collect: Collector) -> None:
    """A note for every flag that the server of the target has to be started with."""
    for engine in plan.engines():
        for need in needs_of(engine):
            hint = "add it to the command that starts the server"
            if need.field == "plugins":
                hint += ", with the paths that the libraries have there: a rendered repository does not hold them"
            collect.note(
                "TK236", (*engine.part.source, "build", need.field),
                f"on target `{plan.target.name}`, the server has to be started with `{need.shown}`: {need.why}", hint,
            )  # fmt: skip
