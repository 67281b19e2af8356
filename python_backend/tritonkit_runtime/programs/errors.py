"""How a stage of a flow fails."""

from __future__ import annotations


class StageError(Exception):
    """A stage failed for the whole batch: which, and why."""

    def __init__(self, stage: str, cause: Exception) -> None:
        super().__init__(f"{stage}: {cause}")
        self.stage, self.cause = stage, cause
