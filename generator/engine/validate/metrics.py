"""The task's own metrics, item by item, so that a verdict can say which items and which classes changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from generator.engine.errors import Finding, StageError
from generator.engine.validate.compare import Comparison
from generator.engine.validate.intervals import resampled_f1, wilson
from generator.gate_set import as_text

if TYPE_CHECKING:
    from generator.engine.runner import Array

# Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", 2010: a box is found at half an overlap.
LEAST_OVERLAP = 0.5


@dataclass(frozen=True)
class Score:
    """One engine's result on the gate set. `value` is 0 to 1 and higher is better; `interval` is of 95 %.

    `right` [items] says of each item whether all of it is right. `by_class` is class → (right, all).
    `labels` counts what was judged: an item may have several labels.
    """

    metric: str
    value: float
    interval: tuple[float, float]
    right: Array
    labels: int
    by_class: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Boxes:
    """Objects of one item: `boxes` [k, 4] (x1, y1, x2, y2), `labels` [k], and of answers `scores` [k].

    Only the first `count` are there, the rest is padding; None: all of them.
    """

    boxes: Array
    labels: Sequence[Any]
    scores: Array | None = None
    count: int | None = None


def score_top1(answers: Sequence[Array | None], labels: Array) -> Score:
    """The share of labels that stand first in their answer, as generator.gate_set.top1 counts it.

    An answer is [k] for one label an item, [n, k] for n of them; None is wrong. Labels are compared as text.
    Raises StageError (TK970) when an item has another number of labels than its answer has rows.
    """
    import numpy as np

    right, by_class = [], dict[str, tuple[int, int]]()
    hits = total = 0
    for item, (answer, label) in enumerate(zip(answers, labels, strict=True)):
        wanted = [as_text(value) for value in np.asarray(label).reshape(-1)]
        found = [None] * len(wanted) if answer is None else [as_text(v) for v in answer[..., 0].reshape(-1)]
        if len(found) != len(wanted):
            message = (
                f"item {item} of the gate set has {len(wanted)} labels, and its answer {len(found)} first places"
            )
            raise StageError(Finding("TK970", message, "each row of an answer needs one label", "accuracy"))
        good = [a == b for a, b in zip(found, wanted, strict=True)]
        for name, one in zip(wanted, good, strict=True):
            old = by_class.get(name, (0, 0))
            by_class[name] = (old[0] + one, old[1] + 1)
        right.append(all(good))
        hits, total = hits + sum(good), total + len(good)
    value = hits / total if total else 0.0
    return Score("top1", value, wilson(hits, total), np.array(right, dtype=bool), total, _in_order(by_class))


def score_f1(answers: Sequence[Boxes | None], truths: Sequence[Boxes], least_overlap: float = LEAST_OVERLAP) -> Score:
    """F1 = 2·hits / (2·hits + false alarms + misses) over all items together (van Rijsbergen, 1979).

    A detection hits if a box of its label that no better detection has taken overlaps it by `least_overlap`
    (intersection over union); the detections are served in the order of their scores, each takes the best that is
    left. An item that has no answer has missed all its boxes.
    """
    import numpy as np

    counts, by_class = np.zeros((len(truths), 3), dtype=np.int64), dict[str, tuple[int, int]]()
    for item, (answer, truth) in enumerate(zip(answers, truths, strict=True)):
        boxes, labels = _rows(truth)
        taken = _matched(answer, boxes, labels, least_overlap) if answer is not None else []
        hits = {index for index in taken if index is not None}
        counts[item] = len(hits), len(taken) - len(hits), len(labels) - len(hits)
        for index, name in enumerate(labels):
            old = by_class.get(name, (0, 0))
            by_class[name] = (old[0] + (index in hits), old[1] + 1)
    hit, false, missed = (int(n) for n in counts.sum(axis=0))
    parts = 2 * hit + false + missed
    right = (counts[:, 1] == 0) & (counts[:, 2] == 0)
    value = 2 * hit / parts if parts else 1.0
    return Score("f1", value, resampled_f1(counts), right, hit + missed, _in_order(by_class))


def score_cosine(comparison: Comparison, floor: float) -> Score:
    """The least cosine to FP32 of any item and output; an item is right if all its outputs reach `floor`.

    The interval is that of the share of items that reach it.
    """
    import numpy as np

    if not comparison.floats:
        raise ValueError("cosine needs an output of a float type")
    least = np.min([output.cosine for output in comparison.floats], axis=0)
    right = least >= floor
    value = max(0.0, float(least.min()))
    return Score("cosine", value, wilson(int(right.sum()), len(right)), right, len(right))


def overlaps(a: Array, b: Array) -> Array:
    """Intersection over union of boxes [n, 4] and [m, 4] (x1, y1, x2, y2): [n, m], 0 to 1 (Jaccard, 1912)."""
    import numpy as np

    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0.0, None).prod(axis=-1)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None).prod(axis=-1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.asarray(np.where(union > 0, shared / np.where(union > 0, union, 1.0), 0.0))


def _rows(objects: Boxes) -> tuple[Array, list[str]]:
    """Without padding: boxes [k, 4] as float64, and labels as text."""
    import numpy as np

    count = len(objects.labels) if objects.count is None else int(objects.count)
    boxes = np.asarray(objects.boxes, dtype=np.float64).reshape(-1, 4)[:count]
    return boxes, [as_text(label) for label in list(objects.labels)[:count]]


def _matched(answer: Boxes, boxes: Array, labels: list[str], least_overlap: float) -> list[int | None]:
    """For each detection, the best score first: the true box that it hits."""
    import numpy as np

    found, names = _rows(answer)
    scores = np.zeros(len(found)) if answer.scores is None else np.asarray(answer.scores, dtype=np.float64)
    share = overlaps(found, boxes)
    taken: list[int | None] = []
    for index in np.argsort(-scores[: len(found)], kind="stable"):
        left = [
            (share[index, at], -at)
            for at, name in enumerate(labels)
            if name == names[index] and at not in taken and share[index, at] >= least_overlap
        ]
        taken.append(-max(left)[1] if left else None)
    return taken


def _in_order(by_class: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Numbers by value, then names."""
    return dict(sorted(by_class.items(), key=lambda item: (not item[0].isdecimal(), item[0].zfill(20))))
