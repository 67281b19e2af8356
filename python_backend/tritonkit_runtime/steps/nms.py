"""nms: from every box that a detector proposes to the few that it means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from tritonkit_runtime.batch import Array, Batch, Tensors
from tritonkit_runtime.steps.base import Kind, shape_of

Floats = npt.NDArray[np.float32]
WINDOW = 512  # candidates of an item looked at together


class Nms:
    """Non-maximum suppression, with ONNX's NonMaxSuppression's results, best first, padded with zeros.

    Takes `boxes` [N, anchors, 4] of two opposite corners and `scores` [N, anchors, classes]. A score must be above
    `score_threshold`; a box goes when its intersection over union with a better one of its class is more than
    `iou_threshold`. Of equal scores the lower class comes first, then the lower anchor; NaN is never a detection, and
    a box without an area suppresses none. With `per_class` false an anchor has its best class alone (of equal ones
    the lower), a box goes for a better one of any class, and of equal scores the lower anchor comes first.

    Gives `boxes_output` FP32 [N, k, 4], `label_output` (STRING with labels, else INT64) and `score_output` FP32
    [N, k], and `count_output` INT32 [N, 1]: how many of the k `max_detections` mean something.
    """

    takes: ClassVar[tuple[Kind, ...]] = ("tensors",)
    gives: ClassVar[Kind] = "tensors"

    def __init__(
        self,
        *,
        boxes: str,
        scores: str,
        max_detections: int,
        iou_threshold: float = 0.5,
        score_threshold: float = 0.3,
        per_class: bool = True,
        labels: Sequence[str] | None = None,
        boxes_output: str = "boxes",
        label_output: str = "label",
        score_output: str = "score",
        count_output: str = "count",
    ) -> None:
        if not isinstance(max_detections, int) or max_detections < 1:
            raise ValueError(f"max_detections is {max_detections!r}; it must be a whole number of at least 1")
        if not 0 <= iou_threshold <= 1:
            raise ValueError(f"iou_threshold is {iou_threshold!r}; it must be from 0 to 1")
        if not math.isfinite(score_threshold):
            raise ValueError(f"score_threshold is {score_threshold!r}; it must be a number")
        if labels is not None and (isinstance(labels, str) or not all(isinstance(x, str) for x in labels)):
            raise ValueError("labels must be a list of strings, or null for class numbers")
        self.outputs = (boxes_output, label_output, score_output, count_output)
        if boxes == scores or len(set(self.outputs)) < len(self.outputs):
            raise ValueError(f"boxes, scores and the outputs need names of their own; found {boxes}, {scores} and "
                             f"{', '.join(self.outputs)}")  # fmt: skip
        self.inputs = (boxes, scores)
        self.labels = None if labels is None else np.array([x.encode() for x in labels], dtype=np.object_)
        self.most, self.per_class = max_detections, per_class
        # The operator compares in FP32.
        self.iou_threshold, self.score_threshold = np.float32(iou_threshold), np.float32(score_threshold)

    def __call__(self, _batch: Batch, value: Tensors) -> Tensors:
        """The four tensors; ValueError when boxes and scores do not fit each other or the labels."""
        boxes, scores = (_numbers(name, value[name]) for name in self.inputs)
        if boxes.shape[2] != 4 or boxes.shape[:2] != scores.shape[:2]:
            raise ValueError(
                f"takes boxes [N, anchors, 4] and scores [N, anchors, classes], found {shape_of(boxes)} and "
                f"{shape_of(scores)}"
            )
        if self.labels is not None and scores.shape[2] != len(self.labels):
            raise ValueError(
                f"there are {len(self.labels)} labels, but {scores.shape[2]} classes: {shape_of(scores)}"
            )
        found = self._candidates(boxes, scores)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            chosen, counts = self._select(found)
        return dict(zip(self.outputs, self._answer(found, chosen, counts), strict=True))

    def _candidates(self, boxes: Floats, scores: Floats) -> _Candidates:
        """All above the threshold, of each item the best first."""
        if self.per_class:
            item, anchor, label = np.nonzero(scores > self.score_threshold)
        else:
            eligible = np.where(scores > self.score_threshold, scores, np.float32(-np.inf))
            best = eligible.argmax(axis=2) if scores.shape[2] else np.zeros(scores.shape[:2], np.intp)
            item, anchor = np.nonzero((eligible > -np.inf).any(axis=2))
            label = best[item, anchor]
        score = scores[item, anchor, label]
        order = np.lexsort((anchor, label if self.per_class else anchor, -score, item))
        item, anchor, label, score = item[order], anchor[order], label[order], score[order]
        counts = np.bincount(item, minlength=len(scores))
        place = np.arange(len(item)) - np.repeat(np.cumsum(counts) - counts, counts)
        shape = (len(scores), int(counts.max(initial=0)))
        live = np.arange(shape[1]) < counts[:, None]

        def table(values: Array, *last: int) -> Array:
            padded = np.zeros((*shape, *last), values.dtype)
            padded[item, place] = values
            return padded

        return _Candidates(
            live, table(boxes[item, anchor], 4), table(label.astype(np.int64)), table(score.astype(np.float32))
        )

    def _select(self, found: _Candidates) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int32]]:
        """Places [N, k] of the chosen among the candidates, and how many of them count, [N].

        A round chooses one of each item. Candidates come a window at a time, since the first few hundred nearly
        always hold all that is chosen.
        """
        items, candidates = found.live.shape
        chosen, counts = np.zeros((items, self.most), np.intp), np.zeros(items, np.int32)
        shapes, rows = _Shapes.of(found), np.arange(items)
        for start in range(0, candidates, WINDOW):
            window, live = shapes.window(start), found.live[:, start : start + WINDOW].copy()
            for slot in range(counts.max()):
                live &= ~(self._gone(window, shapes.at(rows, chosen[:, slot])) & (slot < counts)[:, None])
            while True:
                first = live.argmax(axis=1)
                some = live[rows, first] & (counts < self.most)
                if not some.any():
                    break
                chosen[rows[some], counts[some]] = start + first[some]
                counts += some
                live &= ~self._gone(window, window.at(rows, first))
                live[rows, first] = False
            if (counts == self.most).all():
                break
        return chosen, counts

    def _gone(self, window: _Shapes, best: _Shapes) -> npt.NDArray[np.bool_]:
        """Which of a window [N, m] overlap the best [N, 1] too much.

        The arithmetic of ONNX Runtime's operator, in its order, so that results are equal at the threshold too.
        """
        across = np.minimum(window.x1, best.x1) - np.maximum(window.x0, best.x0)
        down = np.minimum(window.y1, best.y1) - np.maximum(window.y0, best.y0)
        common = across * down
        together = window.area + best.area - common
        gone: npt.NDArray[np.bool_] = (common / together > self.iou_threshold) & (across > 0) & (down > 0)
        gone &= (window.area > 0) & (best.area > 0) & (together > 0)
        if self.per_class:
            gone &= window.labels == best.labels
        return gone

    def _answer(
        self, found: _Candidates, chosen: npt.NDArray[np.intp], counts: npt.NDArray[np.int32]
    ) -> tuple[Array, Array, Array, Array]:
        real = np.arange(self.most) < counts[:, None]
        rows = np.arange(len(chosen))[:, None]
        if not found.live.shape[1]:
            none = (len(chosen), self.most)
            boxes, labels, scores = (
                np.zeros((*none, 4), np.float32),
                np.zeros(none, np.int64),
                np.zeros(none, np.float32),
            )
        else:
            boxes = np.where(real[..., None], found.boxes[rows, chosen], np.float32(0))
            labels = np.where(real, found.labels[rows, chosen], 0)
            scores = np.where(real, found.scores[rows, chosen], np.float32(0))
        named: Array = labels if self.labels is None else np.where(real, self.labels[labels], b"")
        return boxes, named, scores, counts[:, None]


@dataclass(frozen=True)
class _Candidates:
    """Of every item as many places as the one with most needs: `live` [N, m] says which of them are taken."""

    live: npt.NDArray[np.bool_]
    boxes: Floats
    labels: npt.NDArray[np.int64]
    scores: Floats


class _Shapes(NamedTuple):
    """Sides, areas and classes of boxes, [N, m] each."""

    x0: Array
    y0: Array
    x1: Array
    y1: Array
    area: Array
    labels: Array

    @classmethod
    def of(cls, found: _Candidates) -> _Shapes:
        """Those of all candidates; two opposite corners in any order are a box."""
        low, high = (pick(found.boxes[..., :2], found.boxes[..., 2:]) for pick in (np.minimum, np.maximum))
        x0, y0, x1, y1 = (
            np.ascontiguousarray(side) for side in (low[..., 0], low[..., 1], high[..., 0], high[..., 1])
        )
        return cls(x0, y0, x1, y1, (x1 - x0) * (y1 - y0), found.labels)

    def window(self, start: int) -> _Shapes:
        """Some of them, from a place on."""
        return _Shapes(*(values[:, start : start + WINDOW] for values in self))

    def at(self, rows: npt.NDArray[np.intp], places: npt.NDArray[np.intp]) -> _Shapes:
        """One of each item, [N, 1]."""
        return _Shapes(*(values[rows, places][:, None] for values in self))


def _numbers(name: str, value: Any) -> Floats:
    if value.dtype == object or value.ndim != 3:
        raise ValueError(f"takes numbers [N, anchors, ...] as {name}, found {value.dtype} {shape_of(value)}")
    numbers: Floats = value.astype(np.float32, copy=False)
    return numbers
