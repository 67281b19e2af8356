"""The picture of a report: a column for each place, an arrow for each hop, the thicker the more bytes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from generator.copies.hops import Hop, Place, Report
from generator.extras import remedy
from generator.problems import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ORDER: tuple[Place, ...] = (
    "client's shm", "client's GPU", "socket", "server", "pinned", "stub's shm", "process", "engine's shm",
    "engine process", "GPU",
)  # fmt: skip
_COLOURS = {True: "#1f77b4", False: "#d62728"}
_LONGEST = 34


def draw(report: Report, file: Path) -> None:
    """Writes the picture to `file` (.svg, .png, .pdf). The same report gives the same SVG.

    Raises UserError when matplotlib is missing, OSError when the file cannot be written.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("a chart needs matplotlib, which is not installed", remedy("load")) from error
    with mpl.rc_context({"svg.hashsalt": "tritonkit", "font.size": 9, "axes.titlesize": 10}):
        figure = Figure(figsize=(9.5, max(3.0, 0.27 * len(report.hops) + 1.9)), layout="constrained")
        axes = figure.subplots()
        places = [place for place in _ORDER if any(place in (hop.source, hop.to) for hop in report.hops)]
        _draw(axes, report, {place: float(x) for x, place in enumerate(places)})
        each, least = report.copied_bytes / report.items, report.least_bytes / report.items
        figure.suptitle(
            _plain(f"{report.pipeline} ({report.target}, {report.protocol}): {report.copies} copies, {each:,.0f} "
                   f"bytes an item; the least possible: {report.least_copies}, {least:,.0f}"),
            fontsize=10,
        )  # fmt: skip
        form = file.suffix.lower().lstrip(".")
        figure.savefig(file, format=form, metadata={"Date": None} if form == "svg" else None, dpi=150)


def _draw(axes: Axes, report: Report, columns: dict[Place, float]) -> None:
    most = max((hop.copied_bytes for hop in report.hops), default=1) or 1
    rows = len(report.hops)
    for x in columns.values():
        axes.plot([x, x], [-0.6, rows - 0.4], color="0.85", lw=1, zorder=0)
    for y, hop in enumerate(report.hops):
        _arrow(axes, hop, (columns[hop.source], columns[hop.to]), y, most)
    axes.set_xticks(list(columns.values()), labels=list(columns))
    axes.xaxis.tick_top()
    axes.set_yticks(range(rows), labels=[_plain(_name(hop)) for hop in report.hops])
    axes.set_xlim(-0.5, len(columns) - 0.1)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("blue: seen in a running server, red: read in the source; dotted: passed on without a copy")


def _arrow(axes: Axes, hop: Hop, ends: tuple[float, float], y: int, most: int) -> None:
    colour = _COLOURS[hop.is_seen]
    if not hop.copied_bytes:
        axes.plot([ends[1] - 0.12, ends[1] + 0.12], [y, y], color=colour, lw=1, ls=":")
        axes.text(ends[1] + 0.16, y, hop.by, va="center", fontsize=7, color="0.4")
        return
    width = 0.8 + 3.2 * math.sqrt(hop.copied_bytes / most)
    start, end = ends if ends[0] != ends[1] else (ends[0] - 0.12, ends[1] + 0.12)
    style = {"arrowstyle": "-|>", "color": colour, "lw": width, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=(end, y), xytext=(start, y), arrowprops=style)
    several = f" in {hop.times}" if hop.times > 1 else ""
    waits = ", waits" if hop.waits else ""
    axes.text(max(start, end) + 0.06, y, f"{hop.copied_bytes:,}{several}{waits}", va="center", fontsize=7)


def _name(hop: Hop) -> str:
    name = f"{hop.model}: {hop.tensor}" if hop.model else hop.tensor
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _plain(text: str) -> str:
    """Names may have dollar signs, between which matplotlib reads formulas."""
    return text.replace("$", r"\$")
