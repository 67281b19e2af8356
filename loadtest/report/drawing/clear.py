"""Where there is room for words among lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from loadtest.report.drawing.element import Point

Line = Sequence[Point | None]
"""Points that are joined; None breaks it."""
_STEP = 3.0  # pixels from one point of a line that is looked at to the next


@dataclass(frozen=True)
class Box:
    """What words take, in pixels; `x` and `anchor` are where they are put."""

    left: float
    right: float
    top: float
    bottom: float
    x: float
    anchor: str

    def holds(self, point: Point) -> bool:
        """Whether a point is inside."""
        return self.left <= point[0] <= self.right and self.top <= point[1] <= self.bottom


def clearest(boxes: Sequence[Box], lines: Iterable[Line]) -> Box:
    """The first of the boxes that the fewest lines go through, and these for the shortest way."""
    points = [point for line in lines for point in _along(line)]
    return min(boxes, key=lambda box: sum(map(box.holds, points)))


def _along(line: Line) -> Iterator[Point]:
    """Points all along a line, no further than a step from each other."""
    yield from (point for point in line if point is not None)
    for start, end in pairwise(line):
        if start is None or end is None:
            continue
        far = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
        for number in range(1, int(far / _STEP) + 1):
            part = number * _STEP / far
            yield start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1])
