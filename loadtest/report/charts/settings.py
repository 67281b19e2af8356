"""A sweep: how latency, throughput and batches follow a setting, and which point to take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from loadtest.report import words
from loadtest.report.axes import Axis, Panel, axis_of, panels_of
from loadtest.report.drawing.clear import Line
from loadtest.report.drawing.element import Point as Pixel
from loadtest.report.drawing.element import area, element, label, line, path
from loadtest.report.drawing.frame import Frame, fitted, legend_lines
from loadtest.report.drawing.scale import Scale, along, covering
from loadtest.report.figure import Figure
from loadtest.report.tables import Column, Table
from loadtest.results.run import IntervalRecord
from loadtest.results.sweep import Point, Sweep

_RING = 9  # around the point to take: its radius in pixels
Reading = Callable[[Point], IntervalRecord | None]


@dataclass(frozen=True)
class Series:
    """One line: its class, the class of its dots, its name, what it reads of a point, whether its band is drawn."""

    class_: str
    dots: str
    name: str
    of: Reading
    band: bool = False


_P50 = Series("s2 dashed", "f2", "p50", lambda point: point.p50_ms)
_P95 = Series("s5 dotted", "f5", "p95", lambda point: point.p95_ms)
_P99 = Series("s1", "f1", "p99", lambda point: point.p99_ms, band=True)


def _interval(value: float | None) -> IntervalRecord | None:
    return None if value is None else IntervalRecord(value=value, low=value, high=value)


def latency(sweep: Sweep, name: str) -> Figure:
    """p50, p95 and p99 by the setting, with the band of p99, the objective, and the chosen point."""
    axis = axis_of(sweep)
    shown = [(point, point.p99_ms) for point in sweep.points if point.p99_ms is not None]
    lowest, p99 = min(shown, key=lambda pair: pair[1].value)
    says = (
        f"p99 is lowest at {words.settings(lowest.settings)}: {words.ms(p99.value)} "
        f"({words.between(p99, 'ms')} at {words.confidence(p99.confidence)} confidence, two-sided). "
        f"The band and the upright lines are its intervals. {_chosen_words(sweep)}"
    )
    drawing = _Drawing(sweep, axis, (_P99, _P95, _P50), "latency, ms", words.ms, sweep.objective.p99_ms)
    return Figure(f"{name}-latency", f"Latency by {axis.name}", says, _latency_table(sweep, name), drawing.draw,
                  drawing.height, full=True)  # fmt: skip


def throughput(sweep: Sweep, name: str) -> Figure:
    """What was answered a second; with `--find-max` the highest rate that passes."""
    axis = axis_of(sweep)
    if sweep.find_max:
        series = Series("s1", "f1", "highest rate that passes", lambda point: point.max_rate, band=True)
    else:
        series = Series("s1", "f1", "answered", lambda point: point.throughput_rps, band=True)
    seen = [(point, interval) for point in sweep.points if (interval := series.of(point)) is not None]
    best, found = max(seen, key=lambda pair: pair[1].value)
    at = words.settings(best.settings)
    says = f"{series.name.capitalize()}: at most {words.number(found.value)} requests/s, at {at}."
    if sweep.rate_rps is not None and not sweep.find_max:
        says += _sent_words(sweep, sweep.rate_rps)
    drawing = _Drawing(sweep, axis, (series,), "requests/s", words.number, None)
    columns = (Column("throughput_rps", "answered/s"), Column("low", "from"), Column("high", "to"))
    rows = [(p, series.of(p)) for p in sweep.points]
    table = _of_points(f"{name}-throughput", sweep, columns, [(p, _three(i)) for p, i in rows])
    title = "Highest rate that passes" if sweep.find_max else "Throughput"
    return Figure(f"{name}-throughput", title, says, table, drawing.draw, drawing.height, full=sweep.find_max)


def _sent_words(sweep: Sweep, asked_rps: float) -> str:
    """What was asked for, and what was sent: all turns of a round have the same arrivals, as its seed drew them.

    A turn's own warm-up may be longer than that of others, so the most that counts of a round is what was sent in it.
    """
    asked = f" Asked for were {words.number(asked_rps)} a second at every point"
    rounds: dict[int, int] = {}
    for turn in (turn for point in sweep.points for turn in point.replicates if not turn.confirms):
        rounds[turn.round] = max(turn.requests, rounds.get(turn.round, 0))
    if not rounds or not sweep.seconds:
        return f"{asked}."
    low, high = (words.number(end(rounds.values()) / sweep.seconds) for end in (min, max))
    sent = low if low == high else f"{low} to {high}, by round,"
    return f"{asked}; as arrivals were drawn, about {sent} were sent."


def mean_batch(sweep: Sweep, name: str) -> Figure:
    """How full batches were."""
    axis = axis_of(sweep)
    series = Series("s4", "f4", "mean batch", lambda point: _interval(point.mean_batch))
    means = [point.mean_batch for point in sweep.points if point.mean_batch is not None]
    says = f"{words.text(sweep.member)} ran {words.number(min(means))} to {words.number(max(means))} items a batch."
    drawing = _Drawing(sweep, axis, (series,), "items a batch", words.number, None)
    table = _of_points(f"{name}-mean-batch", sweep, (Column("mean_batch", "mean batch"),),
                       [(p, (p.mean_batch,)) for p in sweep.points])  # fmt: skip
    return Figure(f"{name}-mean-batch", "Mean batch", says, table, drawing.draw, drawing.height)


def points_table(sweep: Sweep, name: str) -> Table:
    """Every point with all that was measured at it."""
    columns = (
        Column("requests", "requests", "count"), Column("p50_ms", "p50 ms", "ms"), Column("p95_ms", "p95 ms", "ms"),
        Column("p99_ms", "p99 ms", "ms"), Column("p99_low_ms", "from", "ms"), Column("p99_high_ms", "to", "ms"),
        Column("throughput_rps", "requests/s"), Column("mean_batch", "mean batch"),
        Column("verdict", "verdict", "word"), Column("chosen", "chosen", "yes"), Column("turns", "turns", "count"),
        Column("added_because", "why measured", "text"),
    )  # fmt: skip
    rows = []
    for point in sweep.points:
        p50, p95, p99 = (i.value if i else None for i in (point.p50_ms, point.p95_ms, point.p99_ms))
        low, high = (point.p99_ms.low, point.p99_ms.high) if point.p99_ms else (None, None)
        rate = (point.max_rate if sweep.find_max else point.throughput_rps) or None
        rows.append((point, (
            point.requests, p50, p95, p99, low, high, rate.value if rate else None, point.mean_batch,
            point.judgement.verdict, is_chosen(sweep, point), len(point.replicates), point.added_because,
        )))  # fmt: skip
    return _of_points(name, sweep, columns, rows)


def _latency_table(sweep: Sweep, name: str) -> Table:
    """The three percentiles with their intervals."""
    columns = []
    for key in ("p50", "p95", "p99"):
        ends = (Column(f"{key}_low_ms", "from", "ms"), Column(f"{key}_high_ms", "to", "ms"))
        columns += [Column(f"{key}_ms", f"{key} ms", "ms"), *ends]
    rows = [(p, (*_three(p.p50_ms), *_three(p.p95_ms), *_three(p.p99_ms))) for p in sweep.points]
    return _of_points(f"{name}-latency", sweep, columns, rows)


def is_chosen(sweep: Sweep, point: Point) -> bool:
    """Whether it is what to take."""
    return sweep.choice.settings is not None and point.settings == sweep.choice.settings


def _chosen_words(sweep: Sweep) -> str:
    if sweep.choice.settings is None:
        return "No point is chosen."
    return f"Chosen is {words.settings(sweep.choice.settings)} (ringed)."


def _three(interval: IntervalRecord | None) -> tuple[float | None, float | None, float | None]:
    if interval is None:
        return None, None, None
    known = interval.confidence > 0
    return interval.value, interval.low if known else None, interval.high if known else None


def _of_points(
    name: str, sweep: Sweep, columns: Sequence[Column], rows: Sequence[tuple[Point, tuple[Any, ...]]]
) -> Table:
    keys = list(dict.fromkeys(key for point in sweep.points for key in point.settings))
    head = []
    for key in keys:
        numbers = all(isinstance(point.settings.get(key), int | float) for point in sweep.points)
        head.append(Column(words.text(key), words.text(key), "setting" if numbers else "text"))
    texts = {column.name for column in head if column.kind == "text"}
    return Table(name, (*head, *columns), tuple(
        (*(words.compact(p.settings.get(k)) if words.text(k) in texts else p.settings.get(k) for k in keys), *values)
        for p, values in rows
    ))  # fmt: skip


@dataclass(frozen=True)
class _Drawing:
    sweep: Sweep
    axis: Axis
    series: tuple[Series, ...]
    title: str
    show: Callable[[float | None], str]
    bound: float | None

    def _columns(self, width: float) -> int:
        return 1 if width < 500 else min(len(self._panels), 3)

    @property
    def _panels(self) -> list[Panel]:
        return panels_of(self.sweep, self.axis)

    def height(self, width: float) -> float:
        """In pixels: several axes give a panel for each value of the others."""
        rows = -(-len(self._panels) // self._columns(width))
        return (
            (self._top(width) + (320 if width > 500 else 250) * rows) if rows == 1 else self._top(width) + 240 * rows
        )

    def _top(self, width: float) -> float:
        return 24 + 17 * legend_lines(width, [entry[2] for entry in self._legend()])

    def _legend(self) -> list[tuple[str, str, str]]:
        entries = [("line", f"line {s.class_}", s.name) for s in self.series]
        if any(is_chosen(self.sweep, point) for point in self.sweep.points):
            entries.append(("dot", "chosen", "chosen"))
        if any(point.judgement.verdict == "invalid" for point in self.sweep.points):
            entries.append(("mark", "bad", "invalid"))
        return entries

    def draw(self, width: float) -> Markup:
        """The chart at this width."""
        whole, top = Frame(width, self.height(width)), self._top(width)
        columns = self._columns(width)
        rows = -(-len(self._panels) // columns)
        each, high = (width + 12) / columns, (whole.height - top) / rows
        for place, panel in enumerate(self._panels):
            x, y = (place % columns) * each, top + place // columns * high
            frame = Frame(each - 12, high, top=38 if panel.name else 12)
            self._panel(frame, panel)
            whole.add(element("g", frame.svg(), transform=f"translate({x:.0f} {y:.0f})"))
        whole.add(label(0, 14, self.title, "t strong"))
        whole.legend(self._legend())
        return whole.svg()

    def _panel(self, frame: Frame, panel: Panel) -> None:
        y = self._y(frame)
        frame.make_room(y)
        x = along([self.axis.place(point) for point in self.sweep.points], frame.left + 10, frame.right - 8)
        if panel.name:
            frame.add(label(frame.left, 16, fitted(panel.name, (frame.right - frame.left) * 0.92), "t strong"))
        frame.y_axis(y, "")
        drawn = [line for series in reversed(self.series) for line in self._series(frame, x, y, panel, series)]
        if self.bound:  # the first of the series lies on top
            few = frame.width < 360
            name = "objective" if few else f"objective for p99 {self.show(self.bound)}"
            frame.objective(y(self.bound), name, drawn)
        for point in panel.points:
            if point.judgement.verdict == "invalid":
                at, base = x(self.axis.place(point)), frame.bottom - 7
                frame.add(path([(at - 4, base - 4), (at + 4, base + 4), None, (at - 4, base + 4), (at + 4, base - 4)],
                               "bad"))  # fmt: skip
        frame.x_axis(x, self.axis.title, self.axis.ticks)
        frame.hits([(x(self.axis.place(point)), self._told(point)) for point in panel.points])

    def _y(self, frame: Frame) -> Scale:
        found = [i for point in self.sweep.points for s in self.series if (i := s.of(point)) is not None]
        values = [value for i in found for value in (i.value, i.high, i.low)]
        return covering([*values, *([self.bound] if self.bound else [])], frame.bottom, frame.top)

    def _series(self, frame: Frame, x: Scale, y: Scale, panel: Panel, series: Series) -> list[Line]:
        """Draws it; the lines that words should not lie on."""
        drawn: list[Line] = []
        found = [(point, x(self.axis.place(point)), series.of(point)) for point in panel.points]
        kept = [(point, at, i) for point, at, i in found if i is not None]
        if series.band and self.axis.is_number:
            upper: list[Pixel] = [(at, y(i.high)) for _, at, i in kept]
            frame.add(area(upper, [(at, y(i.low)) for _, at, i in kept], f"band {series.dots}"))
        if self.axis.is_number:
            drawn.append([None if i is None else (at, y(i.value)) for _, at, i in found])
            frame.add(path(drawn[-1], f"line {series.class_}"))
        for point, at, interval in kept:
            if series.band:
                frame.add(line(at, y(interval.low), at, y(interval.high), "whisker"))
                drawn.append([(at, y(interval.low)), (at, y(interval.high))])
            drawn.append([(at, y(interval.value))])
            frame.add(element("circle", cx=at, cy=y(interval.value), r=3.5, class_=f"{series.dots} ring"))
            if series is self.series[0] and is_chosen(self.sweep, point):
                frame.add(element("circle", cx=at, cy=y(interval.value), r=_RING, class_="chosen"))
                drawn.append([(at - _RING, y(interval.value)), (at + _RING, y(interval.value))])
                drawn.append([(at, y(interval.value) - _RING), (at, y(interval.value) + _RING)])
        return drawn

    def _told(self, point: Point) -> str:
        values = []
        for series in self.series:
            interval = series.of(point)
            if interval is not None:
                span = f" ({words.between(interval)})" if interval.low < interval.high else ""
                values.append(f"{series.name} {self.show(interval.value)}{span}")
        verdict = point.judgement.verdict if self.bound else ""
        return " · ".join([words.settings(point.settings), *values, *([verdict] if verdict else [])])
