"""Latency by percentile on a logarithmic axis, where each 9 takes the same room: how the tail goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from loadtest.report import words
from loadtest.report.digest import MARKS, Curve
from loadtest.report.drawing.element import element, line, path
from loadtest.report.drawing.frame import Frame, legend_lines
from loadtest.report.drawing.scale import Scale, covering
from loadtest.report.figure import Figure
from loadtest.report.tables import Column, Table
from loadtest.results.run import IntervalRecord, Percentiles, Run

STYLES = ("s1", "s2 dashed", "s4 dotted", "s5", "s3 dashed", "s1 dotted", "s2", "s4 dashed")
_HITS = 60
_NAMES = (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99), ("p999_ms", 0.999))


@dataclass(frozen=True)
class _Drawing:
    curves: Mapping[str, Curve]
    intervals: Sequence[tuple[float, IntervalRecord]]
    bound: float | None

    def height(self, width: float) -> float:
        """In pixels."""
        return (330 if width > 500 else 290) + 17 * (self._legend_lines(width) - 1)

    def _legend_lines(self, width: float) -> int:
        return legend_lines(width, list(self.curves)) if len(self.curves) > 1 else 1

    def draw(self, width: float) -> Markup:
        """The chart at this width."""
        frame = Frame(width, self.height(width), top=30 + (28 + 17 * (self._legend_lines(width) - 1)) * self._several)
        most = max(_rarity(curve) for curve in self.curves.values())
        seen = [ms for curve in self.curves.values() for _, ms in curve]
        y = covering([*seen, *([self.bound] if self.bound else [])], frame.bottom, frame.top)
        frame.y_axis(y, "latency, ms")
        x = Scale(1.0, most, frame.left, frame.right, "log")
        for interval_at, interval in self.intervals:
            at = x(1 / (1 - interval_at))
            frame.add(line(at, y(interval.low), at, y(interval.high), "whisker"))
        drawn = [[(x(_at(share, curve)), y(ms)) for share, ms in curve] for curve in self.curves.values()]
        for points, style in zip(drawn, STYLES * len(drawn), strict=False):
            frame.add(path(points, f"line {style}"))
        if self.bound:
            whiskers = [[(x(1 / (1 - at)), y(one.low)), (x(1 / (1 - at)), y(one.high))] for at, one in self.intervals]
            at, level = x(100), y(self.bound)
            mark = [(at, level - 7), (at, level + 7)]
            frame.objective(level, f"objective {words.ms(self.bound)}", [*drawn, *whiskers, mark])
            frame.add(line(at, level - 7, at, level + 7, "objective solid"))
        ticks = [(1 / (1 - mark), words.percentile(mark)) for mark in MARKS if 1 / (1 - mark) <= most]
        frame.x_axis(x, "share of requests that are at least as fast", ticks)
        if self._several:
            frame.legend([("line", f"line {s}", name) for name, s in zip(self.curves, STYLES * 9, strict=False)])
        if self.intervals:
            for at_share, interval in self.intervals:
                frame.add(element("circle", cx=x(1 / (1 - at_share)), cy=y(interval.value), r=3.5, class_="f1 ring"))
        longest = max(self.curves.values(), key=len)
        every = -(-len(longest) // _HITS)
        frame.hits([(x(_at(share, longest)), self._told(share)) for share, _ in [*longest[::every], longest[-1]]])
        return frame.svg()

    @property
    def _several(self) -> bool:
        return len(self.curves) > 1

    def _told(self, share: float) -> str:
        named = [(name, value_at(curve, share)) for name, curve in self.curves.items()]
        values = " · ".join(
            f"{words.text(name)} {words.ms(ms)}" if self._several else words.ms(ms) for name, ms in named
        )
        return f"{words.percentile(share) if share < 1 else 'the slowest'}: {values}"


def by_percentile(run: Run, curves: Mapping[str, Curve], name: str) -> Figure:
    """One run; `curves` are all requests, and where there are several pipelines each of them."""
    whole = next(iter(curves.values()))
    bound = run.objective.p99_ms if run.objective else None
    intervals = _intervals(run.percentiles, _rarity(whole)) if run.percentiles else []
    says = (
        f"Half of the requests were answered within {words.ms(value_at(whole, 0.5))}, 99 % within "
        f"{words.ms(value_at(whole, 0.99))}, and the slowest took {words.ms(whole[-1][1])}."
    )
    if intervals:
        sure = words.confidences([interval for _, interval in intervals])
        says += f" Upright lines are intervals at {sure} confidence (two-sided)."
    drawing = _Drawing(curves, intervals, bound)
    table = _table(f"{name}-by-percentile", curves)
    return Figure(f"{name}-by-percentile", "Latency by percentile", says, table, drawing.draw, drawing.height)


def side_by_side(curves: Mapping[str, Curve], bound: float | None) -> Figure:
    """Several runs in one chart; `bound` is their objective where they have the same."""
    at = {name: value_at(curve, 0.99) for name, curve in curves.items()}
    fastest, slowest = min(at, key=at.__getitem__), max(at, key=at.__getitem__)
    says = (
        f"At 99 % {words.text(fastest)} is the fastest with {words.ms(at[fastest])}, and {words.text(slowest)} the "
        f"slowest with {words.ms(at[slowest])}. tritonkit load compare says whether two of them differ."
    )
    drawing = _Drawing(curves, (), bound)
    table = _table("all-by-percentile", curves)
    title = "Latency by percentile, side by side"
    return Figure("all-by-percentile", title, says, table, drawing.draw, drawing.height, full=True)


def value_at(curve: Curve, share: float) -> float:
    """The latency that this share of the requests does not exceed, in milliseconds."""
    return next(ms for known, ms in curve if known >= share - 1e-12)


def _rarity(curve: Curve) -> float:
    """One in how many the rarest percentile is that the curve tells: the right end of the axis."""
    below = [share for share, _ in curve if share < 1]
    return max(1 / (1 - below[-1]) * 1.3, 2.0) if below else 2.0


def _at(share: float, curve: Curve) -> float:
    return 1 / (1 - share) if share < 1 else _rarity(curve)


def _intervals(percentiles: Percentiles, most: float) -> list[tuple[float, IntervalRecord]]:
    found = [(share, getattr(percentiles, field)) for field, share in _NAMES]
    return [(share, interval) for share, interval in found if interval is not None and 1 / (1 - share) <= most]


def _table(name: str, curves: Mapping[str, Curve]) -> Table:
    shares = sorted({share for curve in curves.values() for share, _ in curve})
    names = [words.text(key) for key in curves] if len(curves) > 1 else ["latency"]
    columns = (
        Column("share", "share of requests", "percentile"),
        *(Column(f"{key}_ms", f"{key} ms", "ms") for key in names),
    )
    rows = tuple((share, *(value_at(curve, share) for curve in curves.values())) for share in shares)
    return Table(name, columns, rows)
