"""Whether the labels of a gate set can be answers at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from generator.engine.errors import Finding, StageError
from generator.gate_set import as_text

if TYPE_CHECKING:
    from generator.engine.runner import Array

_SHOWN = 3


def check_labels(answers: Sequence[Array | None], labels: Array) -> None:
    """Raises StageError (TK970) where no answer [..., k] holds any of the labels [items, ...], in whatever place."""
    wanted = {as_text(label) for label in labels.reshape(-1)}
    given = {as_text(value) for answer in answers if answer is not None for value in answer.reshape(-1)}
    if not wanted or not given or wanted & given:
        return
    text = f"none of the labels is ever an answer: labels are such as {_some(wanted)}, answers such as {_some(given)}"
    hint = "labels are what the pipeline answers: texts of its file of labels, else numbers of classes from 0 on"
    raise StageError(Finding("TK970", f"of the gate set, {text}", hint, "accuracy"))


def _some(values: Iterable[str]) -> str:
    return ", ".join(sorted(values, key=lambda value: (len(value), value))[:_SHOWN])
