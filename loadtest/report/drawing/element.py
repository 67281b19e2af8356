"""SVG elements as text, with everything escaped that is put into them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from loadtest.report.words import text as printable

Point = tuple[float, float]


def element(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """`<name …>children</name>`. Plain strings are escaped; `class_` is `class`, `text_anchor` is `text-anchor`."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(child if isinstance(child, Markup) else printable(child) for child in children)
    return Markup(f"<{name}{given}>{inner}</{name}>" if inner else f"<{name}{given}/>")  # noqa: S704  (escaped above)


def _value(value: str | float) -> str:
    if isinstance(value, str):
        return str(escape(printable(value)))
    return coordinate(value)


def coordinate(value: float) -> str:
    """To a tenth of a pixel, as short as it gets."""
    return f"{value:.1f}".removesuffix(".0")


def group(children: Iterable[Markup], **attributes: str | float | None) -> Markup:
    """Elements that belong together."""
    return element("g", *children, **attributes)


def label(x: float, y: float, words: str, class_: str = "t", **attributes: str | float | None) -> Markup:
    """A text."""
    return element("text", words, x=x, y=y, class_=class_, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, class_: str, **attributes: str | float | None) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_, **attributes)


def box(x: float, y: float, width: float, height: float, class_: str, **attributes: str | float | None) -> Markup:
    """A rectangle."""
    return element("rect", x=x, y=y, width=max(width, 0.0), height=max(height, 0.0), class_=class_, **attributes)


def path(points: Sequence[Point | None], class_: str, **attributes: str | float | None) -> Markup:
    """A line through the points; None breaks it. A point between two breaks is drawn as a dot by round line caps."""
    parts: list[str] = []
    pen = "M"
    for place, point in enumerate(points):
        if point is None:
            pen = "M"
            continue
        parts.append(f"{pen}{coordinate(point[0])} {coordinate(point[1])}")
        if pen == "M" and (place + 1 == len(points) or points[place + 1] is None):
            parts.append("h0")
        pen = "L"
    return element("path", d="".join(parts), class_=class_, **attributes) if parts else Markup("")


def area(upper: Sequence[Point], lower: Sequence[Point], class_: str) -> Markup:
    """What lies between two lines."""
    around = [*upper, *reversed(lower)]
    if len(upper) < 2:
        return Markup("")
    d = "M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in around) + "Z"
    return element("path", d=d, class_=class_)


def steps(points: Sequence[Point | None], ends: Sequence[float]) -> list[Point | None]:
    """A line of steps: each point holds from its x to its end."""
    out: list[Point | None] = []
    for point, end in zip(points, ends, strict=True):
        out += [None] if point is None else [point, (end, point[1])]
    return out
