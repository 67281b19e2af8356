"""The only place of the generator that knows the runtime: its files, and the pipeline run without a server.

The two are imported when they are asked for: what compiles an engine runs in processes that have little installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generator.engine.alone import Alone, AnswerAlone
    from generator.engine.sources import runtime_sources

__all__ = ["Alone", "AnswerAlone", "runtime_sources"]


def __getattr__(name: str) -> object:
    if name in {"Alone", "AnswerAlone"}:
        from generator.engine import alone

        return getattr(alone, name)
    if name == "runtime_sources":
        from generator.engine.sources import runtime_sources

        return runtime_sources
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
