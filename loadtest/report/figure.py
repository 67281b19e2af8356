"""A chart with its words and its data: nothing is shown in a picture alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from loadtest.report.drawing.element import element
from loadtest.report.tables import Table

FULL, HALF, PHONE = 760, 420, 350


@dataclass(frozen=True)
class Figure:
    """`says` is the chart in words, `table` all that it shows, `draw` its content for (width) and `height` of it.

    `name` is unique within a page.
    """

    name: str
    title: str
    says: str
    table: Table
    draw: Callable[[float], Markup]
    height: Callable[[float], float]
    full: bool = False

    @property
    def width(self) -> int:
        """On a wide screen, in pixels."""
        return FULL if self.full else HALF

    def svg(self, width: float, class_: str = "chart") -> Markup:
        """As a part of a page, which brings the style."""
        height = self.height(width)
        return element(
            "svg", self.draw(width), class_=class_, viewBox=f"0 0 {width:g} {height:g}", role="img",
            aria_label=f"{self.title}. {self.says}",
        )  # fmt: skip

    def file(self, style: str) -> str:
        """As a file of its own, with `style` (CSS) inside."""
        width, height = self.width, self.height(self.width)
        inner = [
            element("title", self.title),
            element("desc", self.says),
            element("style", Markup(style)),  # noqa: S704  (our own file)
            element("rect", width=width + 32, height=height + 32, x=-16, y=-16, class_="paper"),
            self.draw(width),
        ]
        svg = element(
            "svg", *inner, xmlns="http://www.w3.org/2000/svg", class_="chart", role="img", width=width + 32,
            height=height + 32, viewBox=f"-16 -16 {width + 32} {height + 32:g}",
        )  # fmt: skip
        return f'<?xml version="1.0" encoding="utf-8"?>\n{svg}\n'
