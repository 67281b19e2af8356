"""The only place of the generator that knows the runtime: its files, and the pipeline run without a server."""

from generator.engine.alone import Alone, AnswerAlone
from generator.engine.sources import runtime_sources

__all__ = ["Alone", "AnswerAlone", "runtime_sources"]
