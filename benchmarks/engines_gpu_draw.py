"""The chart of benchmarks/engines_gpu.py: what each precision costs in accuracy, and what it gains in time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

COLOURS = {"fp32": "#4477aa", "tf32": "#66ccee", "fp16": "#228833", "int8 Q/DQ": "#ee6677", "int8 mixed": "#aa3377",
           "int8 cache": "#ccbb44"}  # fmt: skip
TITLES = {"digits": "Digits", "embeddings": "Sentence embeddings", "resnet50": "ResNet-50, random weights"}
BATCH = "64"


def draw(folder: Path) -> Path:
    """engines_gpu.svg beside engines_gpu.json: accuracy against latency above, latency by batch size below."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    data = json.loads((folder / "engines_gpu.json").read_text())
    names = [name for name in TITLES if name in data["models"]]
    mpl.rcParams.update({"svg.hashsalt": "engines_gpu", "font.size": 9, "axes.spines.top": False})
    mpl.rcParams["axes.spines.right"] = False
    figure, rows = plt.subplots(2, len(names), figsize=(4.2 * len(names), 7), squeeze=False)
    for column, name in enumerate(names):
        plans = {v: p for v, p in data["models"][name].items() if v in COLOURS and "latency_us" in p}
        _accuracy(rows[0][column], plans)
        _latency(rows[1][column], plans)
        rows[0][column].set_title(TITLES[name] + _top1(plans))
    machine = data["machine"]
    figure.suptitle(f"TensorRT {machine['tensorrt']} on {machine['gpu']}")
    lines = {label: line for axes in rows[1] for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    shown = [variant for variant in COLOURS if variant in lines]
    figure.legend([lines[v] for v in shown], shown, loc="lower center", ncols=len(COLOURS), frameon=False)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    file = folder / "engines_gpu.svg"
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
    return file


def _top1(plans: dict[str, Any]) -> str:
    """The top-1 accuracy of all plans, where they have one."""
    found = [plan["accuracy"]["top1"] for plan in plans.values() if "top1" in plan["accuracy"]]
    if not found:
        return ""
    low, high = f"{min(found):.2%}", f"{max(found):.2%}"
    return f": top-1 {low}" if low == high else f": top-1 {low} to {high}"


def _accuracy(axes: Any, plans: dict[str, Any]) -> None:
    """One point a plan; those that no other beats in both are joined."""
    best = max((p["accuracy"]["snr_db"] or 0 for p in plans.values()), default=0)
    points = []
    for variant, plan in plans.items():
        time = plan["latency_us"]["graph"][BATCH]
        snr = plan["accuracy"]["snr_db"] or best
        points.append((time["median"], snr))
        error = [[time["median"] - time["low"]], [time["high"] - time["median"]]]
        axes.errorbar(time["median"], snr, xerr=error, fmt="o", color=COLOURS[variant], capsize=2)
    front = pareto(points)
    axes.plot([x for x, _ in front], [y for _, y in front], color="#888888", linewidth=1, zorder=0)
    axes.set_xlim(0, 1.1 * max(time for time, _ in points))
    axes.set_ylim(0, 1.1 * best)
    axes.set_xlabel(f"µs for a batch of {BATCH}, launched as a CUDA graph")
    axes.set_ylabel("signal to noise against fp32, dB")


def pareto(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (smaller first number, larger second is better) that no other beats in both, from left to right."""
    front: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front


def _latency(axes: Any, plans: dict[str, Any]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    for variant, plan in plans.items():
        times = plan["latency_us"]["graph"]
        sizes = sorted(int(size) for size in times)
        medians = [times[str(size)]["median"] for size in sizes]
        axes.plot(sizes, medians, marker="o", markersize=3, color=COLOURS[variant], label=variant)
        low, high = ([times[str(size)][end] for size in sizes] for end in ("low", "high"))
        axes.fill_between(sizes, low, high, color=COLOURS[variant], alpha=0.2, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xticks([1, 8, 32, 64, 128], labels=["1", "8", "32", "64", "128"])
    axes.set_xlabel("batch")
    axes.set_ylabel("µs, median and its 95 % interval")
