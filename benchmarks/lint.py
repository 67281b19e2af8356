"""Claim: `tritonkit lint` judges 1,000 models with 100 ensembles in a second of one core, and 10,000 in proportion.

    python benchmarks/lint.py [--rounds 5]

Each measurement is a whole process on one core, in a new order every round, over made-up repositories in memory
(benchmarks/_repositories.py: no two models alike, one in twenty with a mistake). The real server then says the same
of the smaller ones, which are checked to be judged alike. Writes lint.json and lint.svg.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from _common import HERE, chart, machine, median, put_table, rounds, save, write_result
from _repositories import make_repository

from deploy.embedded.control import READY, Control
from deploy.embedded.flags import ServerFlags, ServerNeeds
from deploy.embedded.server import EmbeddedServer

SIZES, SERVED, SEED = (30, 100, 300, 1000, 3000, 10_000), (10, 30, 100), 1
TARGET = (1000, 1.0)  # models, seconds
MEMORY = Path("/dev/shm")  # noqa: S108  (repositories are written to memory: a disk would be measured, not the tool)
LOAD_TIMEOUT_S = 600.0


def lint(repository: Path) -> dict[str, float]:
    """One run as from a shell: seconds from start to end, processor seconds, and its peak memory.

    What the system tells of that is at least what this process has had (`least_mib`).
    """
    command = [str(Path(sys.executable).with_name("tritonkit")), "lint", "--server", "embedded", str(repository)]
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})  # the new process has it, too
    try:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
    finally:
        os.sched_setaffinity(0, cores)
    wall_s = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"`{' '.join(command)}` ended with status {process.returncode}")
    least_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cpu_s = used.ru_utime + used.ru_stime
    return {"wall_s": wall_s, "cpu_s": cpu_s, "peak_mib": used.ru_maxrss / 1024, "least_mib": least_mib}


def serve(repository: Path) -> dict[str, float]:
    """The server on a repository: seconds until it has tried every model. Its verdicts are compared with lint's."""
    arguments = ServerFlags.arguments
    # As it is started to find out what is wrong: it goes on after a model that fails, and is ready after the last.
    instead = {"--strict-readiness=true": "--strict-readiness=false", "--exit-on-error=true": "--exit-on-error=false"}

    def flags(self: ServerFlags) -> list[str]:
        return [instead.get(flag, flag) for flag in arguments(self)]

    server = EmbeddedServer(repository, ServerNeeds(restricted_apis=()), ready_timeout_s=LOAD_TIMEOUT_S)
    try:
        with patch.object(ServerFlags, "arguments", flags):
            start = time.perf_counter()
            server.start()
        with Control(server.record()) as control:
            states = control.index()
        wall_s = time.perf_counter() - start
    finally:
        server.stop(grace_s=0)
    loaded = {name for name, versions in states.items() if READY in versions.values()}
    compare(repository, loaded)
    return {"wall_s": wall_s}


def compare(repository: Path, loaded: set[str]) -> None:
    """Ends the benchmark where lint and the server differ about a model."""
    from generator.lint.check import check
    from generator.lint.files import DiskFolder
    from generator.lint.server import EMBEDDED

    checked = check([DiskFolder(repository)], EMBEDDED)
    accepted = checked.models.keys() - checked.refused
    if accepted != loaded:
        raise SystemExit(f"lint and the server differ about {', '.join(sorted(accepted ^ loaded))}")


def fit(told: Mapping[int, Mapping[str, Any]], what: str) -> dict[str, float]:
    """The straight line `start + N * a model` through the medians, fitted to the cost of one model.

    Dividing by N first keeps the largest N from deciding alone.
    """
    a_model = [told[count][what]["median"] / count for count in told]
    start, each = statistics.linear_regression([1 / count for count in told], a_model)
    return {"ms_a_model": each * 1000, "start_s": start}


def draw(
    told: dict[int, dict[str, Any]], served: dict[int, dict[str, Any]], line: Mapping[str, float], file: Path
) -> None:
    """Seconds against the number of models, on logarithmic axes: lint with its line, and the server."""
    figure, [axes] = chart(1, (7.5, 4.6))
    shown = [
        (served, "wall_s", "s", "C3", "the server, from start to the last verdict (all cores)"),
        (told, "wall_s", "^", "C1", "lint, from start to end (one core)"),
        (told, "cpu_s", "o", "C0", "lint, processor time"),
    ]
    for points, what, marker, colour, label in shown:
        found = [points[count][what] for count in points]
        middle = [f["median"] for f in found]
        bars = [[f["median"] - f["low"] for f in found], [f["high"] - f["median"] for f in found]]
        axes.errorbar(list(points), middle, bars, fmt=marker, color=colour, capsize=3, label=label)
    axes.plot(
        list(told), [line["start_s"] + line["ms_a_model"] * n / 1000 for n in told], color="C0", lw=1, alpha=0.7
    )
    axes.plot(*[[value] for value in TARGET], "*", color="0.3", ms=12, label="target: 1,000 in 1 s")
    axes.set(xscale="log", yscale="log", xlabel="models, a tenth of them ensembles", ylabel="seconds")
    sizes = sorted({*told, *served})
    axes.set_xticks(sizes, labels=[f"{count:,}" for count in sizes], minor=False)
    axes.minorticks_off()
    axes.set_title("What is wrong with a repository: lint's time is a straight line")
    axes.set_ylim(bottom=0.04)
    axes.legend(fontsize=9, loc="lower right")
    save(figure, file)


def table(told: dict[int, dict[str, Any]], served: dict[int, dict[str, Any]]) -> list[list[str]]:
    """The rows for the page."""

    def seconds(found: dict[str, float]) -> str:
        return f"{found['median']:.2f} ({found['low']:.2f} to {found['high']:.2f})"

    rows = []
    for count in sorted({*told, *served}):
        cells = ["", "", ""]
        if count in told:
            found = told[count]
            peak, least = found["peak_mib"]["median"], found["least_mib"]["median"]
            cells = [seconds(found["cpu_s"]), seconds(found["wall_s"]), f"{'under ' * (peak <= least)}{peak:.0f}"]
        rows.append([f"{count:,}", *cells, seconds(served[count]["wall_s"]) if count in served else ""])
    return rows


def summary(runs: Mapping[int, Sequence[Mapping[str, float]]]) -> dict[int, dict[str, Any]]:
    """Medians of all rounds, by the number of models."""
    return {count: {what: median(run[what] for run in found) for what in found[0]} for count, found in runs.items()}


def main() -> None:
    """Measures in interleaved rounds and writes all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of models for lint")
    parser.add_argument("--served", type=int, nargs="*", default=SERVED, help="numbers of models for the server")
    given = parser.parse_args()
    linted: dict[int, list[dict[str, float]]] = {count: [] for count in given.sizes}
    loads: dict[int, list[dict[str, float]]] = {count: [] for count in given.served}
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        made = {count: Path(folder, f"models-{count}") for count in {*linted, *loads}}
        for count, repository in made.items():
            make_repository(repository, count, SEED)
        lint(made[min(made)])  # files of Python's own and of the tool are in memory from now on
        for number, (kind, count) in rounds(
            [*(("lint", count) for count in linted), *(("server", count) for count in loads)], given.rounds, SEED
        ):
            runs, measure = (linted, lint) if kind == "lint" else (loads, serve)
            runs[count].append(measure(made[count]))
            sys.stderr.write(f"round {number}/{given.rounds}: {kind} {count}: {runs[count][-1]['wall_s']:.2f} s\n")
    told, served = summary(linted), summary(loads)
    lines = {what: fit(told, what) for what in ("cpu_s", "wall_s")}
    write_result("lint", {
        "command": f"python benchmarks/lint.py --rounds {given.rounds}", "seed": SEED,
        **machine("protobuf", "click", "tritonclient", "nvidia-pytriton"),
        "summary": {"lint": told, "server": served}, "fits": lines, "runs": {"lint": linted, "server": loads},
    })  # fmt: skip
    draw(told, served, lines["cpu_s"], HERE / "lint.svg")
    head = [
        "models",
        "lint: processor time, s",
        "lint: start to end, s",
        "lint: peak, MiB",
        "server: start to end, s",
    ]
    put_table("lint", head, table(told, served))
    each = lines["cpu_s"]
    print(f"lint: {each['start_s']:.2f} s and {each['ms_a_model']:.3f} ms a model of processor time")


if __name__ == "__main__":
    main()
