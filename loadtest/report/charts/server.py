"""What the server's statistics say: where the time of a request went, by model, and how full its batches were."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from loadtest.report import words
from loadtest.report.drawing.element import box, element, label, line
from loadtest.report.drawing.frame import LETTER, Frame, fitted
from loadtest.report.drawing.scale import Scale, covering
from loadtest.report.figure import Figure
from loadtest.report.tables import Column, Table
from loadtest.results.run import Split

_STAGES = (("queue", "b1"), ("input", "b2"), ("infer", "b3"), ("output", "b4"))
_WHOLE = " (ensemble: all of it)"
_ROW, _THIN_ROW, _FEW_BARS, _PANEL, _MOST_PANELS = 44, 24, 6, 150, 3
_SPLIT = (
    Column("queue_us", "queue µs", "us"), Column("input_us", "input µs", "us"), Column("infer_us", "infer µs", "us"),
    Column("output_us", "output µs", "us"), Column("requests", "requests", "count"),
    Column("executions", "executions", "count"), Column("mean_batch", "mean batch"),
)  # fmt: skip
_BATCHES = (
    Column("batch", "batch", "count"), Column("executions", "executions", "count"),
    Column("share", "share of executions", "share"), Column("items_share", "share of items", "share"),
)  # fmt: skip

Named = tuple[str, Split]


def times_of(split: Split) -> tuple[float, float, float, float]:
    """Queue, input, infer, output in microseconds."""
    return split.queue_us, split.input_us, split.compute_us, split.output_us


def split_table(name: str, named: Sequence[Named], first: str = "model") -> Table:
    """The stages of each row, with how often it ran."""
    rows = tuple((key, *times_of(s), s.requests, s.executions, s.mean_batch) for key, s in named)
    return Table(name, (Column(first.replace(" ", "_"), first, "text"), *_SPLIT), rows)


def named_splits(splits: Sequence[Split], effective: Mapping[str, Any]) -> list[Named]:
    """With their models' names. Of an ensemble it is said that its time is that of its members together."""
    found = []
    for split in splits:
        config = effective.get(split.model)
        whole = isinstance(config, Mapping) and (
            config.get("platform") == "ensemble" or "ensemble_scheduling" in config
        )
        found.append((f"{split.model}{_WHOLE}" if whole else split.model, split))
    return found


def time_split(named: Sequence[Named], name: str, first: str = "model", *, full: bool = False) -> Figure:
    """Stacked bars of mean times; a row is a model, or a point of a sweep."""
    parts = [pair for pair in named if not pair[0].endswith(_WHOLE)] or named
    longest = max(parts, key=lambda pair: sum(times_of(pair[1])))
    stage, _ = max(zip(_STAGES, times_of(longest[1]), strict=True), key=lambda pair: pair[1])
    says = (
        f"Mean time of a request in the server. The longest is {words.text(longest[0])} with "
        f"{words.us(sum(times_of(longest[1])))}, most of it {stage[0]}."
    )
    drawing = _Bars(tuple(named), first)
    table = split_table(f"{name}-time-split", named, first)
    return Figure(f"{name}-time-split", "Where the time goes", says, table, drawing.draw, drawing.height, full)


@dataclass(frozen=True)
class _Bars:
    """Names stand above their bars; where there are many, at the left."""

    named: tuple[Named, ...]
    first: str

    @property
    def _many(self) -> bool:
        return len(self.named) > _FEW_BARS

    def height(self, width: float) -> float:  # noqa: ARG002  (rows are as high on every screen)
        """In pixels."""
        return 48 + (_THIN_ROW if self._many else _ROW) * len(self.named) + 30

    def draw(self, width: float) -> Markup:
        """The chart at this width."""
        longest = max(len(name) for name, _ in self.named)
        left = max(min(longest * LETTER + 14, width * 0.4), 30) if self._many else 2.0
        frame = Frame(width, self.height(width), left=left, top=48, margin_bottom=30)
        frame.margin_right = 66 if self._many else 16
        most = max(sum(times_of(split)) for _, split in self.named)
        x = covering([most], frame.left, frame.right, decades_from=1e9)
        ticks = x.ticks(3 if frame.is_narrow else 5)
        for value in ticks:
            frame.add(line(x(value), frame.top, x(value), frame.bottom, "grid"))
        for place, (name, split) in enumerate(self.named):
            row = self._thin_row if self._many else self._row
            row(frame, x, frame.top + place * (_THIN_ROW if self._many else _ROW), name, split)
        of = "" if self.first == "model" else f" by {self.first}"
        frame.add(label(0, 14, fitted(f"mean time of a request, µs{of}", width * 0.92), "t strong"))
        frame.x_axis(x, "", [(value, words.tick(value)) for value in ticks])
        frame.legend([("box", class_, stage) for stage, class_ in _STAGES])
        return frame.svg()

    @staticmethod
    def _row(frame: Frame, x: Scale, top: float, name: str, split: Split) -> None:
        total = sum(times_of(split))
        frame.add(label(frame.left, top + 13, fitted(name, frame.right - 90), "t"))
        frame.add(label(frame.right, top + 13, words.us(total), "t strong", text_anchor="end"))
        _bar(frame, x, top + 19, name, split)

    @staticmethod
    def _thin_row(frame: Frame, x: Scale, top: float, name: str, split: Split) -> None:
        total = sum(times_of(split))
        frame.add(label(frame.left - 8, top + 16, fitted(name, frame.left - 8), "t", text_anchor="end"))
        frame.add(label(frame.width, top + 16, words.us(total), "t strong", text_anchor="end"))
        _bar(frame, x, top + 4, name, split)


def _bar(frame: Frame, x: Scale, top: float, name: str, split: Split) -> None:
    at, total = 0.0, sum(times_of(split))
    for (stage, class_), us in zip(_STAGES, times_of(split), strict=True):
        told = f"{name} · {stage} {words.us(us)} of {words.us(total)}"
        frame.add(box(x(at), top, x(at + us) - x(at), 16, class_, data_tip=told))
        at += us


def has_batches(split: Split) -> bool:
    """Whether the server counted any."""
    return any(split.batch_sizes.values())


def batches_table(name: str, named: Sequence[Named], first: str = "model") -> Table:
    """Every executed batch size."""
    rows = []
    for key, split in named:
        executions = sum(split.batch_sizes.values()) or 1
        items = sum(size * times for size, times in split.batch_sizes.items()) or 1
        for size, times in sorted(split.batch_sizes.items()):
            rows.append((key, size, times, times / executions, size * times / items))
    return Table(name, (Column(first.replace(" ", "_"), first, "text"), *_BATCHES), tuple(rows))


def batch_histogram(splits: Sequence[Split], name: str) -> Figure:
    """Executions by batch size; the models with the most sizes are drawn, the table has all."""
    with_sizes = [split for split in splits if has_batches(split)]
    varied = [split for split in with_sizes if len(split.batch_sizes) > 1] or with_sizes[:1]
    drawn = sorted(varied, key=lambda split: -len(split.batch_sizes))[:_MOST_PANELS]
    first = drawn[0]
    usual, times = max(first.batch_sizes.items(), key=lambda pair: pair[1])
    says = (
        f"{words.text(first.model)} ran {first.executions:,} batches of {words.number(first.mean_batch)} items on "
        f"average; the most frequent size is {usual} ({words.share(times / sum(first.batch_sizes.values()))})."
    )
    if len(with_sizes) > len(drawn):
        says += f" Of {len(with_sizes)} models, {len(drawn)} with the most different sizes are drawn."
    drawing = _Panels(tuple(drawn))
    table = batches_table(f"{name}-batches", [(split.model, split) for split in with_sizes])
    return Figure(f"{name}-batches", "Batch sizes", says, table, drawing.draw, drawing.height)


@dataclass(frozen=True)
class _Panels:
    splits: tuple[Split, ...]

    def height(self, width: float) -> float:  # noqa: ARG002  (panels are as high on every screen)
        """In pixels; a single panel is as high as its neighbours on the page."""
        return 300 if len(self.splits) == 1 else 44 + _PANEL * len(self.splits)

    def draw(self, width: float) -> Markup:
        """The chart at this width."""
        height = self.height(width)
        each = (height - 44) / len(self.splits)
        largest = max(max(split.batch_sizes) for split in self.splits)
        whole = Frame(width, height, top=0)
        x = Scale(0.5, largest + 0.5, whole.left, whole.right)
        for place, split in enumerate(self.splits):
            panel = Frame(width, place * each + each, top=place * each + 32, margin_bottom=12)
            self._panel(panel, x, split, place * each)
            whole.add(panel.svg())
        every = max(1, -(-largest // (6 if whole.is_narrow else 10)))
        ticks = [(float(size), str(size)) for size in range(1, largest + 1) if size == 1 or size % every == 0]
        base = Frame(width, height, left=whole.left)
        base.x_axis(x, "items in a batch", ticks)
        whole.add(base.svg())
        return whole.svg()

    @staticmethod
    def _panel(panel: Frame, x: Scale, split: Split, top: float) -> None:
        total = sum(split.batch_sizes.values())
        shares = {size: times / total for size, times in split.batch_sizes.items()}
        y = covering([share * 100 for share in shares.values()], panel.bottom, panel.top, decades_from=1e9)
        for value in y.ticks(3):
            panel.add(line(panel.left, y(value), panel.right, y(value), "grid"))
            panel.add(label(panel.left - 8, y(value) + 4, f"{value:g} %", "t", text_anchor="end"))
        panel.add(label(0, top + 14, fitted(f"{split.model}: share of executions", panel.width * 0.92), "t strong"))
        column = min((x(2) - x(1)) * 0.8, 26)
        for size, share in sorted(shares.items()):
            told = f"batch of {size}: {split.batch_sizes[size]:,} executions, {words.share(share)}"
            height = max(panel.bottom - y(share * 100), 1)
            panel.add(box(x(size) - column / 2, panel.bottom - height, column, height, "b3", data_tip=told))


def batch_shades(named: Sequence[Named], name: str, first: str) -> Figure:
    """A row a point of a sweep, a column a batch size: the darker, the more of the executions had it."""
    low, high = min(named, key=lambda p: p[1].mean_batch), max(named, key=lambda p: p[1].mean_batch)
    says = (
        f"From {words.number(low[1].mean_batch)} items a batch ({words.text(low[0])}) to "
        f"{words.number(high[1].mean_batch)} ({words.text(high[0])}). The darker, the larger the share of executions."
    )
    drawing = _Shades(tuple(named), first)
    table = batches_table(f"{name}-batches", named, first)
    return Figure(f"{name}-batches", "Batch sizes", says, table, drawing.draw, drawing.height)


@dataclass(frozen=True)
class _Shades:
    named: tuple[Named, ...]
    first: str

    def height(self, width: float) -> float:  # noqa: ARG002  (rows are as high on every screen)
        """In pixels."""
        return 30 + 24 * len(self.named) + 44

    def draw(self, width: float) -> Markup:
        """The chart at this width."""
        letters = max(len(name) for name, _ in self.named)
        left = max(min(letters * LETTER + 14, width * 0.4), 40)
        frame = Frame(width, self.height(width), left=left, top=30)
        largest = max(max(split.batch_sizes, default=1) for _, split in self.named)
        x = Scale(0.5, largest + 0.5, frame.left, frame.right)
        cell = x(2) - x(1)
        for place, (name, split) in enumerate(self.named):
            top = frame.top + place * 24
            frame.add(label(left - 8, top + 16, fitted(name, left - 8), "t", text_anchor="end"))
            total = sum(split.batch_sizes.values()) or 1
            for size, times in sorted(split.batch_sizes.items()):
                told = f"{name} · batch of {size}: {times:,} executions, {words.share(times / total)}"
                shade = f"{0.08 + 0.92 * math.sqrt(times / total):.2f}"
                frame.add(element("rect", x=x(size) - cell / 2, y=top + 1, width=max(cell - 1, 1), height=22,
                                  class_="b3", opacity=shade, data_tip=told))  # fmt: skip
        every = max(1, -(-largest // (5 if frame.is_narrow else 9)))
        ticks = [(float(size), str(size)) for size in range(1, largest + 1) if size == 1 or size % every == 0]
        frame.add(label(0, 14, fitted(f"executions by batch size, for each {self.first}", width * 0.92), "t strong"))
        frame.x_axis(x, "items in a batch", ticks)
        return frame.svg()
