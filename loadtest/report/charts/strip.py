"""The verdict at a glance: the interval of p99 on a line, and the objective."""

from __future__ import annotations

from markupsafe import Markup

from loadtest.report import words
from loadtest.report.drawing.element import box, element, label, line
from loadtest.report.drawing.frame import wide
from loadtest.report.drawing.scale import Scale
from loadtest.report.figure import HALF, PHONE
from loadtest.results.run import IntervalRecord

HEIGHT = 64


def both(p99: IntervalRecord, bound_ms: float) -> tuple[Markup, Markup]:
    """For a wide screen and for a phone."""
    return strip(p99, bound_ms, HALF, "wide"), strip(p99, bound_ms, PHONE, "phone")


def strip(p99: IntervalRecord, bound_ms: float, width: float, class_: str) -> Markup:
    """Drawn from 0 on; what is shown is also said in the sentence beside it."""
    high = max(p99.high, bound_ms) * 1.12
    x = Scale(0.0, high, 1, width - 1)
    middle = 34
    at = x(bound_ms)
    name = f"objective {words.ms(bound_ms)}"
    half = wide(name, strong=True) / 2 + 2
    name_at = min(max(at, half), width - half)
    value_at = min(max(x(p99.value), 60), width - 60)
    return element(
        "svg",
        box(x(0), middle - 5, at - x(0), 10, "within"),
        box(at, middle - 5, x(high) - at, 10, "beyond"),
        box(x(p99.low), middle - 5, max(x(p99.high) - x(p99.low), 2), 10, "interval"),
        element("circle", cx=x(p99.value), cy=middle, r=6, class_="f1 ring"),
        line(at, middle - 16, at, middle + 12, "objective solid"),
        label(name_at, 13, name, "t strong objective-t", text_anchor="middle"),
        label(value_at, middle + 24, f"p99 {words.ms(p99.value)}", "t", text_anchor="middle"),
        class_=f"chart {class_}", viewBox=f"0 0 {width:g} {HEIGHT}", role="img",
        aria_label=f"p99 is {words.ms(p99.value)}, between {words.between(p99, 'ms')}; {name}.",
    )  # fmt: skip
