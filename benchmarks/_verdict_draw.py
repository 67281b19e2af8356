"""The chart of benchmarks/verdicts.py: what is decided, by how far the true p99 is from the bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from _common import chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
PASS, UNDECIDED, FAIL = "#4c9f70", "#d9d9d9", "#c8553d"


def draw(result: dict[str, Any]) -> Figure:
    """One panel a queue: the shares of runs that pass, that stay undecided and that fail."""
    queues = result["queues"]
    rows = -(-len(queues) // COLUMNS)
    figure, _ = chart(1, (11, 2.35 * rows + 0.9))
    figure.clear()
    panels = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    for number, (panel, queue) in enumerate(zip(panels.flat, queues, strict=False)):
        _panel(panel, queue)
        if number % COLUMNS == 0:
            panel.set_ylabel("of runs, %")
        if number >= len(queues) - COLUMNS:
            panel.set_xlabel("true p99 / bound")
    for panel in panels.flat[len(queues) :]:
        panel.set_axis_off()
    handles = panels.flat[0].collections[:3]
    figure.legend(handles, ["pass", "undecided", "fail"], loc="outside upper right", ncols=3)
    figure.suptitle(
        "Verdicts within 20,000 requests, looks at 5,000, 10,000 and 20,000", x=0.01, ha="left", fontsize=12
    )
    return figure


def _panel(panel: Axes, queue: dict[str, Any]) -> None:
    points = sorted((1 / point["bound"], point) for point in queue["bounds"])
    ratio = [at for at, _ in points]
    passed = np.array([sum(point["pass_at"]) for _, point in points]) / queue["runs"] * 100
    failed = np.array([sum(point["fail_at"]) for _, point in points]) / queue["runs"] * 100
    panel.stackplot(
        ratio, passed, 100 - passed - failed, failed, colors=[PASS, UNDECIDED, FAIL], edgecolor="white", lw=0.5
    )
    panel.axvline(1, color="black", lw=1)
    for edge in (1 / 1.1, 1.1):
        panel.axvline(edge, color="black", lw=0.8, ls=":")
    panel.set_title(queue["name"], fontsize=9.5)
    panel.text(
        0.97, 0.06, f"worth {queue['worth']:,.0f}", transform=panel.transAxes, ha="right", fontsize=8,
        bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 1.5},
    )  # fmt: skip
    panel.set_xlim(ratio[0], ratio[-1])
    panel.set_ylim(0, 100)
    panel.set_xticks([0.8, 1, 1.2, 1.4])
