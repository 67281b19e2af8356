"""What a caller of a ring of buffers has to tell apart."""

from __future__ import annotations


class ShapeError(ValueError):
    """One request's tensors do not fit what the engine is ready for; the message says what does. The ring goes on."""


class BatchError(RuntimeError):
    """One batch could not be run; its requests get no answer. The ring goes on."""


class FullError(BatchError):
    """Every lane is in use."""


class BrokenError(RuntimeError):
    """Nothing runs any more: an earlier failure lost the device's context. The process has to be started again."""
