"""Traces that are made up, of a plan that is none: for what compares them, where there is no GPU."""

from __future__ import annotations

from pathlib import Path

from copy_trace_reader import Copy

from tritonkit_runtime.parameters import TensorSpec

GIVEN, MADE = TensorSpec("images", "FP32", (3, 224, 224)), TensorSpec("logits", "FP32", (1000,))
IN, OUT = 3 * 224 * 224 * 4, 1000 * 4  # bytes of an item


def plan_of_nothing(folder: Path) -> Path:
    """A file in a plan's place."""
    file = folder / "a.plan"
    file.write_bytes(b"a plan")
    return file


def copied(
    kind: str, source: str, to: str, size: int, at: int = 0, stream: int = 13, *, recorded: bool = False
) -> Copy:  # fmt: skip
    return Copy(kind, source, to, size, True, at, at + 5, stream, recorded)
