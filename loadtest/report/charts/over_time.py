"""Latency and send lag over the time of a run, by bins that never lose their largest value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from loadtest.report import words
from loadtest.report.digest import Bin, Digest
from loadtest.report.drawing.element import Point, box, path, steps
from loadtest.report.drawing.frame import Frame, legend_lines
from loadtest.report.drawing.scale import Scale, covering
from loadtest.report.figure import Figure
from loadtest.report.tables import Column, Table
from loadtest.results.run import Run

_LATENCY = (
    Column("start_s", "from s"), Column("end_s", "to s"), Column("requests", "requests", "count"),
    Column("errors", "errors", "count"), Column("p50_ms", "p50 ms", "ms"), Column("p99_ms", "p99 ms", "ms"),
    Column("max_ms", "largest ms", "ms"),
)  # fmt: skip
_LAG = (
    Column("start_s", "from s"), Column("end_s", "to s"), Column("requests", "requests", "count"),
    Column("lag_p99_us", "p99 µs", "us"), Column("lag_max_us", "largest µs", "us"),
)  # fmt: skip


@dataclass(frozen=True)
class _Line:
    """A line of steps: its class, its name, and its value in a bin."""

    class_: str
    name: str
    of: Callable[[Bin], float | None]


def latency_over_time(run: Run, digest: Digest, name: str) -> Figure:
    """Median, p99 and largest latency of the requests that were due in each piece of the run."""
    bins = [bin_ for bin_ in digest.bins if bin_.requests]
    lines = (
        _Line("s3 thin", "largest", lambda bin_: bin_.max_ms),
        _Line("s1", "p99", lambda bin_: bin_.p99_ms),
        _Line("s2 dashed", "p50", lambda bin_: bin_.p50_ms),
    )
    bound = run.objective.p99_ms if run.objective else None
    top = max(bins, key=lambda bin_: bin_.max_ms or 0.0)
    says = (
        f"The slowest request took {words.ms(top.max_ms)}; it was due between {top.start_s:g} and {top.end_s:g} s. "
        f"Each step is {bins[0].end_s - bins[0].start_s:g} s by due time, and holds the largest latency of it."
    )
    if run.warm_up.seconds:
        says += f" The first {words.seconds(run.warm_up.seconds)} (shaded) are warm-up and do not count."
    if run.outcomes.get("cancelled"):
        says += " What was cancelled on purpose is left out."
    if any(bin_.errors for bin_ in bins):
        says += " Crosses mark errors, which count as the deadline or more."
    drawing = _Drawing(bins, lines, "latency, ms", words.ms, run.warm_up.seconds, bound, "objective for p99")
    rows = tuple((b.start_s, b.end_s, b.requests, b.errors, b.p50_ms, b.p99_ms, b.max_ms) for b in bins)
    table = Table(f"{name}-over-time", _LATENCY, rows)
    return Figure(f"{name}-over-time", "Latency over time", says, table, drawing.draw, drawing.height, full=True)


def lag_over_time(run: Run, digest: Digest, name: str) -> Figure:
    """How much later than due requests were sent: what the generator itself adds."""
    bins = [bin_ for bin_ in digest.bins if bin_.requests]
    lines = (
        _Line("s3 thin", "largest", lambda bin_: bin_.lag_max_us),
        _Line("s1", "p99", lambda bin_: bin_.lag_p99_us),
    )
    seen, bound = run.validity, run.validity.lag_bound_us
    word = "below" if seen.lag_p99_us <= bound else "above"
    says = (
        f"99 % of the requests were sent at most {words.us(seen.lag_p99_us)} after they were due, {word} the bound "
        f"of {words.us(bound)}; the latest {words.us(seen.lag_max_us)}. Latency counts from when a request was due, "
        f"so lag is part of it."
    )
    drawing = _Drawing(bins, lines, "sent after due, µs", words.us, 0.0, bound, "bound for p99")
    rows = tuple((b.start_s, b.end_s, b.requests, b.lag_p99_us, b.lag_max_us) for b in bins)
    table = Table(f"{name}-send-lag", _LAG, rows)
    return Figure(f"{name}-send-lag", "Send lag", says, table, drawing.draw, drawing.height)


@dataclass(frozen=True)
class _Drawing:
    bins: Sequence[Bin]
    lines: Sequence[_Line]
    title: str
    show: Callable[[float | None], str]
    warm_s: float
    bound: float | None
    bound_name: str

    def height(self, width: float) -> float:
        """In pixels."""
        return 300 if width > 500 else 270

    def draw(self, width: float) -> Markup:
        """The chart at this width."""
        with_errors = self.title.startswith("latency") and any(bin_.errors for bin_ in self.bins)
        entries = [("line", line.class_, line.name) for line in self.lines]
        entries += [("box", "warm", "warm-up")] * bool(self.warm_s) + [("mark", "bad", "errors")] * with_errors
        lines = legend_lines(width, [entry[2] for entry in entries])
        frame = Frame(width, self.height(width), top=58 + 17 * (lines - 1))
        values = [value for line in self.lines for bin_ in self.bins if (value := line.of(bin_)) is not None]
        y = covering([*values, *([self.bound] if self.bound else [])], frame.bottom, frame.top)
        frame.make_room(y)
        x = Scale(0.0, self.bins[-1].end_s, frame.left, frame.right)
        if self.warm_s:
            frame.add(box(frame.left, frame.top, x(self.warm_s) - frame.left, frame.bottom - frame.top, "warm"))
        frame.y_axis(y, self.title)
        drawn = [self._steps(line, x, y) for line in self.lines]
        for line, steps_ in zip(self.lines, drawn, strict=True):
            frame.add(path(steps_, f"line {line.class_}"))
        if with_errors:
            for bin_ in self.bins:
                if bin_.errors:
                    frame.add(_cross((x(bin_.start_s) + x(bin_.end_s)) / 2, frame.top - 2))
        if self.bound:
            frame.objective(y(self.bound), f"{self.bound_name} {self.show(self.bound)}", drawn)
        frame.x_axis(x, "due, seconds after the start")
        frame.legend(entries)
        frame.hits([((x(bin_.start_s) + x(bin_.end_s)) / 2, self._told(bin_)) for bin_ in self.bins])
        return frame.svg()

    def _steps(self, line: _Line, x: Scale, y: Scale) -> list[Point | None]:
        points = [None if (v := line.of(bin_)) is None else (x(bin_.start_s), y(v)) for bin_ in self.bins]
        return steps(points, [x(bin_.end_s) for bin_ in self.bins])

    def _told(self, bin_: Bin) -> str:
        parts = [f"{line.name} {self.show(line.of(bin_))}" for line in reversed(self.lines)]
        told = f"{bin_.start_s:g} to {bin_.end_s:g} s · {bin_.requests:,} requests · {' · '.join(parts)}"
        return told + (f" · {bin_.errors:,} errors" if bin_.errors else "")


def _cross(x: float, y: float) -> Markup:
    return path([(x - 3, y - 3), (x + 3, y + 3), None, (x - 3, y + 3), (x + 3, y - 3)], "bad")
