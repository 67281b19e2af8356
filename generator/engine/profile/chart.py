"""The chart of a profile: time by layer, coloured by its limit, and the roofline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from generator.engine.profile.roofline import Bound, Roofs
from generator.engine.profile.rows import LayerTime, Profile
from generator.extras import remedy
from generator.problems import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS: dict[Bound, str] = {"memory": "#1f77b4", "compute": "#d62728", "neither": "#999999", "unknown": "#dddddd"}
_WORDS: dict[Bound, str] = {"neither": "neither (starting it costs more)", "unknown": "work not known"}
_BARS, _LONGEST_NAME = 20, 40


def draw(profile: Profile, roofs: Roofs | None, file: Path, title: str) -> None:
    """Writes the chart to `file` (.svg, .png, .pdf). The same profile gives the same SVG.

    Raises UserError when matplotlib is missing, OSError when the file cannot be written.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("a chart needs matplotlib, which is not installed", remedy("build")) from error
    with mpl.rc_context({"svg.hashsalt": "tritonkit", "font.size": 9, "axes.titlesize": 10}):
        height = max(3.8, 0.24 * min(len(profile.rows), _BARS) + 2)
        figure = Figure(figsize=(7.0 if roofs is None else 11.5, height), layout="constrained")
        panels = figure.subplots(1, 1 if roofs is None else 2, squeeze=False)[0]
        _bars(panels[0], profile, roofs)
        if roofs is not None:
            _legend(figure, profile, roofs)
            _roofline(panels[1], profile, roofs)
        figure.suptitle(_math_free(title), fontsize=11)
        form = file.suffix.lower().lstrip(".")
        figure.savefig(file, format=form, metadata={"Date": None} if form == "svg" else None, dpi=150)


def _math_free(text: str) -> str:
    """Names may have dollar signs, between which matplotlib reads formulas."""
    return text.replace("$", r"\$")


def _bars(axes: Axes, profile: Profile, roofs: Roofs | None) -> None:
    """The rows that take most time, and all others as one bar, which is divided by limit."""
    ranked = sorted(profile.rows, key=lambda row: -row.ms)
    shown, rest = ranked[:_BARS], ranked[_BARS:]
    bars = [(_short(row), [row]) for row in shown] + ([(f"{len(rest)} more", rest)] if rest else [])
    for place, (_, rows) in enumerate(bars):
        left = 0.0
        for bound, colour in _COLOURS.items():
            ms = sum(row.ms for row in rows if _bound(row, roofs) == bound)
            axes.barh(place, ms, left=left, color=colour, edgecolor="0.5", linewidth=0.4 if ms else 0)
            left += ms
    axes.set_yticks(range(len(bars)), labels=[_math_free(name) for name, _ in bars])
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlabel("median of a run, ms")
    axes.grid(alpha=0.3, axis="x")
    axes.set_axisbelow(True)
    axes.set_title(f"time by layer ({profile.engine}, {profile.runs} runs)")


def _bound(row: LayerTime, roofs: Roofs | None) -> Bound:
    return roofs.bound(row) if roofs is not None else "unknown"


def _legend(figure: Figure, profile: Profile, roofs: Roofs) -> None:
    from matplotlib.patches import Patch

    found = {roofs.bound(row) for row in profile.rows}
    handles = [
        Patch(facecolor=_COLOURS[bound], edgecolor="0.5", label=_WORDS.get(bound, bound))
        for bound in _COLOURS if bound in found
    ]  # fmt: skip
    figure.legend(handles=handles, title="limited by", frameon=False, loc="outside lower center", ncols=len(handles))


def _short(row: LayerTime) -> str:
    name = f"{row.name} ({row.op_type})" if row.op_type and row.op_type not in row.name else row.name
    return name if len(name) <= _LONGEST_NAME else f"...{name[-(_LONGEST_NAME - 3) :]}"


def _roofline(axes: Axes, profile: Profile, roofs: Roofs) -> None:
    known = [
        (row, row.flops, row.moved_bytes) for row in profile.rows if row.flops and row.moved_bytes and row.ms > 0
    ]
    points = [(flops / moved, flops / (row.ms / 1e3) / 1e9, row) for row, flops, moved in known]
    ends = [x for x, _, _ in points]
    least, most = min([roofs.ridge / 100, *ends]) / 2, max([roofs.ridge * 10, *ends]) * 2
    peak, slope = roofs.flops_per_s / 1e9, roofs.bytes_per_s / 1e9
    axes.plot([least, roofs.ridge, most], [least * slope, peak, peak], color="0.2", lw=1.5)
    total = sum(row.ms for row in profile.rows) or 1.0
    axes.scatter(
        [x for x, _, _ in points], [y for _, y, _ in points],
        s=[15 + 600 * row.ms / total for _, _, row in points], alpha=0.75, edgecolor="0.3", linewidth=0.4,
        color=[_COLOURS[roofs.bound(row)] for _, _, row in points],
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(least, most)
    heights = [peak, least * slope, *(y for _, y, _ in points)]
    axes.set_ylim(min(heights) / 2, max(heights) * 3)
    axes.set_xlabel("operations a byte")
    axes.set_ylabel("10⁹ operations a second")
    axes.grid(alpha=0.3)
    threads = f"{roofs.threads} thread{'s' if roofs.threads > 1 else ''}"
    axes.set_title(f"roofs measured here, FP32, {threads}: {peak:.3g} GFLOP/s, {slope:.3g} GB/s")
