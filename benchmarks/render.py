"""Claim: 1,000 specs render in 2 seconds, each file parsed back and compared; time and memory grow with their number.

    python benchmarks/render.py [--rounds 5]

Each measurement is a process of its own, in a new order every round: it makes N specs (benchmarks/_specs.py: no two
alike), then loads and resolves, renders, writes and checks them. Writes render.json and render.svg.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from _common import HERE, chart, machine, median, put_table, rounds, save, write_result

SIZES, SEED = (10, 30, 100, 300, 1000), 1
STAGES = {
    "resolve": "load and resolve", "render": "render and parse back", "write": "write", "check": "check",
}  # fmt: skip
MEMORY = Path("/dev/shm")  # noqa: S108  (repositories are written to memory: a disk would be measured, not the tool)
T = TypeVar("T")


def peak_mib() -> float:
    """The most memory that this process has had. (ru_maxrss would start at what its parent had.)"""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise SystemExit("this needs Linux: /proc/self/status has no VmHWM")
    return int(found[1]) / 1024


def measure(count: int, seed: int) -> dict[str, Any]:
    """All stages of `count` specs in this process, after one spec that counts for nothing (imports, templates)."""
    from _specs import make_project

    from generator.project import Project
    from generator.workspace import open_workspace, render_trees
    from generator.write import check, write

    found: dict[str, Any] = {"wall_ms": {}, "cpu_ms": {}, "peak_mib": {}}

    def timed(stage: str, work: Callable[[], T]) -> T:
        wall, cpu = time.perf_counter(), time.process_time()
        made = work()
        found["wall_ms"][stage] = (time.perf_counter() - wall) * 1000
        found["cpu_ms"][stage] = (time.process_time() - cpu) * 1000
        found["peak_mib"][stage] = peak_mib() - before_mib
        return made

    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        for name, number, its_seed in (("warm", 1, seed + 1), ("specs", count, seed)):
            make_project(Path(folder, name), number, its_seed)
        render_trees(open_workspace(Project(Path(folder, "warm"))))
        before_mib = peak_mib()
        workspace = timed("resolve", lambda: open_workspace(Project(Path(folder, "specs"))))
        [tree] = timed("render", lambda: render_trees(workspace))
        owner_of, root = tree.owners.__getitem__, Path(folder, "repository")
        timed("write", lambda: write(tree.files, root, owner_of=owner_of))
        if timed("check", lambda: check(tree.files, root, owner_of=owner_of)):
            raise SystemExit("what was written is not what was rendered")
        found |= {"files": len(tree.files), "kib": sum(map(len, tree.files.values())) / 1024}
    return found


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of all rounds of one N."""
    first = runs[0]
    told: dict[str, Any] = {key: first[key] for key in ("files", "kib")}
    for measure_name in ("wall_ms", "cpu_ms", "peak_mib"):
        told[measure_name] = {stage: median(run[measure_name][stage] for run in runs) for stage in STAGES}
    return told


def fits(told: dict[int, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Straight lines `start + N * a spec` through the medians, fitted to the cost of one spec.

    Dividing by N first keeps the largest N from deciding alone.
    """
    lines: dict[str, dict[str, Any]] = {}
    for what, unit in (("wall_ms", "ms"), ("cpu_ms", "ms"), ("peak_mib", "mib")):
        lines[what] = {}
        for stage in STAGES:
            a_spec = [told[count][what][stage]["median"] / count for count in told]
            start, each = statistics.linear_regression([1 / count for count in told], a_spec)
            lines[what][stage] = {f"{unit}_a_spec": each, f"start_{unit}": start}
    return lines


def table(told: dict[str, Any], lines: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The rows for the page: medians and intervals of the largest N, and the slopes."""

    def seconds(found: dict[str, float]) -> str:
        return f"{found['median'] / 1000:.2f} ({found['low'] / 1000:.2f} to {found['high'] / 1000:.2f})"

    return [
        [
            words, seconds(told["cpu_ms"][stage]), seconds(told["wall_ms"][stage]),
            f"{told['peak_mib'][stage]['median']:.0f}", f"{lines['cpu_ms'][stage]['ms_a_spec']:.2f}",
        ]
        for stage, words in STAGES.items()
    ]  # fmt: skip


def draw(told: dict[int, dict[str, Any]], lines: dict[str, dict[str, Any]], file: Path) -> None:
    """Time and memory against the number of specs, on logarithmic axes, with the straight lines."""
    figure, (left, right) = chart(2, (10, 4.4))
    shown = [("resolve", "o", "C0"), ("render", "s", "C1"), ("write", "^", "C2"), ("check", "v", "C3")]
    panels = ((left, "cpu_ms", "ms", shown), (right, "peak_mib", "mib", shown[:3]))
    for axes, what, unit, stages in panels:
        for stage, marker, colour in stages:
            found = [told[count][what][stage] for count in told]
            middle = [f["median"] for f in found]
            bars = [[f["median"] - f["low"] for f in found], [f["high"] - f["median"] for f in found]]
            axes.errorbar(list(told), middle, bars, fmt=marker, color=colour, capsize=3, label=STAGES[stage])
            line = lines[what][stage]
            fitted = [line[f"start_{unit}"] + line[f"{unit}_a_spec"] * count for count in told]
            drawn = [(count, value) for count, value in zip(told, fitted, strict=True) if value > 0]
            axes.plot(*zip(*drawn, strict=True), color=colour, lw=1, alpha=0.7)
        axes.set(xscale="log", yscale="log", xlabel="specs")
        axes.set_xticks(list(told), labels=[f"{count:,}" for count in told], minor=False)
        axes.minorticks_off()
    left.plot([1000], [2000], "*", color="0.3", ms=12, label="target: render 1,000 in 2 s")
    left.set(ylabel="processor time, ms", title="Time; the lines are straight ones")
    right.set(ylabel="peak above an idle start, MiB", title="Memory, by the end of each stage")
    for axes in (left, right):
        axes.legend(fontsize=9)
    save(figure, file)


def main() -> None:
    """Measures in interleaved rounds and writes both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", type=int, metavar="N", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        print(json.dumps(measure(given.child, SEED)))
        return
    runs: dict[int, list[dict[str, Any]]] = {count: [] for count in SIZES}
    for number, count in rounds(SIZES, given.rounds, SEED):
        command = [sys.executable, __file__, "--child", str(count)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        runs[count].append(json.loads(done.stdout))
        told_ms = {stage: round(ms) for stage, ms in runs[count][-1]["wall_ms"].items()}
        sys.stderr.write(f"round {number}/{given.rounds}: {count} specs: {told_ms} ms\n")
    told = {count: summary(runs[count]) for count in SIZES}
    lines = fits(told)
    write_result("render", {
        "command": f"python benchmarks/render.py --rounds {given.rounds}", "seed": SEED,
        **machine("protobuf", "pydantic", "PyYAML", "jinja2", "onnx", "tritonclient"),
        "summary": told, "fits": lines, "runs": runs,
    })  # fmt: skip
    draw(told, lines, HERE / "render.svg")
    head = [
        "1,000 specs",
        "processor time, s",
        "from start to end, s",
        "peak memory above the start, MiB",
        "ms a spec",
    ]
    put_table("render", head, table(told[SIZES[-1]], lines))
    largest = told[SIZES[-1]]
    shown = {what: {stage: round(found["median"]) for stage, found in largest[what].items()} for what in lines}
    print(json.dumps({f"{SIZES[-1]} specs": shown, "lines": lines}, indent=2))


if __name__ == "__main__":
    main()
