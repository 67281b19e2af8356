"""What the benchmarks share: facts of the machine, the rounds, medians with intervals, results, the charts' style."""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.whole_file import write_whole
from loadtest.machine import machine
from loadtest.turns import rounds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["HERE", "chart", "machine", "median", "put_table", "rounds", "save", "write_result"]

HERE = Path(__file__).parent
RESAMPLES = 2000


def median(values: Iterable[float], seed: int = 1) -> dict[str, Any]:
    """The median, its 95 % interval (percentile bootstrap), and how many values it is of."""
    found = list(values)
    resample = random.Random(seed)  # noqa: S311
    medians = sorted(statistics.median(resample.choices(found, k=len(found))) for _ in range(RESAMPLES))
    low, high = medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]
    return {"median": statistics.median(found), "low": low, "high": high, "count": len(found)}


def write_result(name: str, result: dict[str, Any], indent: int | None = None) -> Path:
    """benchmarks/<name>.json, whole or not at all. Its path."""
    file = HERE / f"{name}.json"
    write_whole(file, json.dumps({"format": 1, **result}, indent=indent) + "\n")
    return file


def chart(columns: int = 1, size: tuple[float, float] = (7.5, 4.2)) -> tuple[Figure, list[Axes]]:
    """An empty figure (inches) of one row, in the style of all charts here. The same data give the same SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({
        "svg.hashsalt": "tritonkit", "font.size": 10, "axes.titlesize": 11, "axes.grid": True, "grid.alpha": 0.3,
        "legend.frameon": False, "lines.linewidth": 2,
    })  # fmt: skip
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, columns, figsize=size, layout="constrained", squeeze=False)
    return figure, list(axes[0])


def save(figure: Figure, file: Path) -> None:
    """Writes the chart, an SVG without the date (or a PNG, to look at)."""
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None, dpi=150)


def put_table(name: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Replaces the table of benchmarks/<name>.md, so that the page always has the figures of its JSON."""
    file = HERE / f"{name}.md"
    lines = file.read_text(encoding="utf-8").splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("|"))
    last = next((index for index in range(first, len(lines)) if not lines[index].startswith("|")), len(lines))
    table = [head, ["---"] * len(head), *rows]
    lines[first:last] = [f"| {' | '.join(row)} |".replace("| ---", "|---").replace("--- |", "---|") for row in table]
    write_whole(file, "\n".join(lines) + "\n")
