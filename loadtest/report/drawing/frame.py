"""What all charts share: the drawing area with its axes, its legend, and what shows a value under the pointer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from markupsafe import Markup

from loadtest.report.drawing.clear import Box, Line, clearest
from loadtest.report.drawing.element import box, element, group, label, line, path
from loadtest.report.drawing.scale import Scale
from loadtest.report.words import tick

LETTER = 7.2  # pixels of a letter of 12 pixels in the widest of the usual fonts (DejaVu Sans), about
NARROW = 420  # charts below this width are for a phone
_BOLD = 1.12  # strong letters are so much wider
_PLACES = 12  # for words along a line across
_ASCENT, _DESCENT = 10.0, 3.0  # of a line of words above and below its base, in pixels


def wide(text: str, *, strong: bool = False) -> float:
    """About how many pixels a text takes: rather more than it does."""
    return len(text) * LETTER * (_BOLD if strong else 1.0)


def fitted(text: str, room: float) -> str:
    """The text, its end left out where there is no room for it."""
    letters = max(int(room / LETTER), 2)
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


@dataclass
class Frame:
    """A chart in the making: `left` to `right` and `top` to `bottom` is what the axes enclose, in pixels."""

    width: float
    height: float
    left: float = 52
    top: float = 44
    margin_right: float = 16
    margin_bottom: float = 44
    parts: list[Markup] = field(default_factory=list)

    @property
    def right(self) -> float:
        """The end of the x axis."""
        return self.width - self.margin_right

    @property
    def bottom(self) -> float:
        """Where the x axis lies."""
        return self.height - self.margin_bottom

    @property
    def is_narrow(self) -> bool:
        """Whether it is drawn for a phone."""
        return self.width < NARROW

    def add(self, *parts: Markup) -> None:
        """Draws on top of what is there."""
        self.parts += parts

    def y_axis(self, scale: Scale, title: str, show: Callable[[float], str] = tick) -> None:
        """Light lines across, their values at the left, and the title above."""
        self.make_room(scale, show)
        for value in scale.ticks(4 if self.is_narrow else 5):
            y = scale(value)
            self.add(line(self.left, y, self.right, y, "grid"))
            self.add(label(self.left - 8, y + 4, show(value), "t", text_anchor="end"))
        self.add(label(0, 14, title, "t strong"))

    def make_room(self, scale: Scale, show: Callable[[float], str] = tick) -> None:
        """Moves the axis to the right as far as its values need; before an x scale is made of `left`."""
        longest = max((wide(show(value)) for value in scale.ticks(4 if self.is_narrow else 5)), default=0.0)
        self.left = max(self.left, longest + 12)

    def x_axis(self, scale: Scale, title: str, ticks: Sequence[tuple[float, str]] | None = None) -> None:
        """The base line, values below it, the title at the right end. Labels that would touch are left out."""
        self.add(line(self.left, self.bottom, self.right, self.bottom, "axis"))
        wanted = 4 if self.is_narrow else 7
        shown = ticks if ticks is not None else [(value, tick(value)) for value in scale.ticks(wanted)]
        free_from = -1e9
        for value, words in shown:
            x, half = scale(value), wide(words) / 2
            self.add(line(x, self.bottom, x, self.bottom + 5, "axis"))
            if x - half < free_from:
                continue
            middle = max(min(x, self.width - half), half)
            self.add(label(middle, self.bottom + 19, words, "t", text_anchor="middle"))
            free_from = x + half + 8
        self.add(label(self.right, self.height - 6, title, "t", text_anchor="end"))

    def legend(self, entries: Sequence[tuple[str, str, str]]) -> None:
        """Below the title: (kind `line`, `box`, `dot` or `mark`, class, text), from the left."""
        x, y = 0.0, 33.0
        for kind, class_, words in entries:
            if x and x + 24 + wide(words) > self.width:
                x, y = 0.0, y + 17
            self.add(_swatch(kind, class_, x, y), label(x + 24, y, words))
            x += 24 + wide(words) + 16

    def objective(self, y: float, words: str, lines: Iterable[Line] = ()) -> None:
        """The line of what was promised, and its name where the `lines` of the chart leave room for it."""
        self.add(line(self.left, y, self.right, y, "objective"))
        box = clearest(self._beside(y, wide(words, strong=True)), lines)
        self.add(label(box.x, box.bottom - _DESCENT, words, "t strong objective-t", text_anchor=box.anchor))

    def _beside(self, y: float, width: float) -> list[Box]:
        """Places for words above and below a line across, the usual ones first; none leaves the drawing area."""
        first, last = self.left + 6, self.right - width
        between = [last - number / _PLACES * (last - first) for number in range(1, _PLACES)]
        across = [(last, self.right, "end"), *((left, left, "start") for left in (first, *between))]
        above, below = y - 6 - _ASCENT, y + 6
        rows = [above, below] if below + _ASCENT + _DESCENT <= self.bottom else [above]
        return [
            Box(left, left + width, top, top + _ASCENT + _DESCENT, x, anchor)
            for top in rows
            for left, x, anchor in across
        ]

    def hits(self, points: Sequence[tuple[float, str]]) -> None:
        """Invisible columns around these x, each with what is told while the pointer is over it."""
        if not points:
            return
        ordered = sorted(points)
        edges = [self.left, *((a[0] + b[0]) / 2 for a, b in pairwise(ordered)), self.right]
        columns = []
        for (x, words), start, end in zip(ordered, edges, edges[1:], strict=False):
            columns.append(box(start, self.top, end - start, self.bottom - self.top, "hit", data_tip=words, data_x=x))
        self.add(group(columns))

    def svg(self) -> Markup:
        """All of it, without a frame around."""
        return group(self.parts)


def legend_lines(width: float, words: Sequence[str]) -> int:
    """How many lines the legend takes."""
    lines, x = 1, 0.0
    for text in words:
        if x and x + 24 + wide(text) > width:
            lines, x = lines + 1, 0.0
        x += 24 + wide(text) + 16
    return lines


def _swatch(kind: str, class_: str, x: float, y: float) -> Markup:
    if kind == "box":
        return box(x + 4, y - 10, 12, 11, class_)
    if kind == "dot":
        return element("circle", cx=x + 10, cy=y - 4, r=4, class_=class_)
    if kind == "mark":
        return path([(x + 6, y - 8), (x + 14, y), None, (x + 6, y), (x + 14, y - 8)], class_)
    return line(x, y - 4, x + 18, y - 4, class_)
