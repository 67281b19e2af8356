"""Claim: no more than one pass in a hundred is wrong, dependent requests and repeated looks included.

    python benchmarks/verdicts.py [--runs 2000] [--processes 2]

Simulates queues whose p99 is known and has each run judged by the code of `tritonkit load run --until-decided`: at
the planned looks, until it is decided or the budget of 20,000 requests ends. Then: runs with eight times the budget,
how often intervals hold the true p99, comparisons of runs, and warm-ups. No server and no clock: the same seeds give
the same counts on every machine. Writes verdicts.json (every count) and verdicts.svg, and puts the tables into
verdicts.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from _common import HERE, machine, save, write_result
from _verdict_draw import draw
from _verdict_runs import cases, comparisons, coverage, verdicts, warm_ups
from _verdict_tables import put_tables

from loadtest.statistics.looks import Looks

BUDGET, LONG = 20_000, 160_000
REFERENCE = (1000, 40_000)
LONGER = ("M/M/1, load 0.5", "autoregressive, 0.95", "batches, busy", "batches, bursts")
COMPARED = ("M/M/1, load 0.1", "M/M/1, load 0.5", "autoregressive, 0.8")
COVERED = (*COMPARED, "batches, small bursts")
SIDES = ((1, 0.0), (1, 0.05), (3, 0.05), (5, 0.05))
"""How many runs a side, and by how much runs differ."""


def one(job: tuple[str, str, int]) -> tuple[str, Any]:
    """One part of the work: what it is, and its counts."""
    kind, name, runs = job
    case = cases()[name]
    found: Any
    if kind == "queues":
        found = [verdicts(case, Looks.plan(BUDGET), runs, REFERENCE)]
    elif kind == "longer":
        found = [verdicts(case, Looks.plan(LONG, LONG // 32), max(runs // 8, 2), REFERENCE)]
    elif kind == "coverage":
        found = [coverage(case, max(runs // 4, 2), BUDGET)]
    elif kind == "comparisons":
        found = [comparisons(case, max(runs // 4, 2), BUDGET // 2, sides, noise) for sides, noise in SIDES]
    else:
        found = [row for requests in (1000, BUDGET) for row in warm_ups(case, max(runs // 4, 2), requests)]
    return kind, found


def jobs(runs: int) -> list[tuple[str, str, int]]:
    """All of the work."""
    return [
        *(("queues", name, runs) for name in cases()),
        *(("longer", name, runs) for name in LONGER),
        *(("coverage", name, runs) for name in COVERED),
        *(("comparisons", name, runs) for name in COMPARED),
        ("warm_ups", "autoregressive, 0.8", runs),
    ]


def measure(runs: int, processes: int) -> dict[str, Any]:
    """Everything, in the order of `jobs`."""
    work = jobs(runs)
    with ProcessPoolExecutor(processes) as pool:
        running = [pool.submit(one, job) for job in work]
        for done, future in enumerate(as_completed(running), 1):
            future.result()
            sys.stderr.write(f"\r{done} of {len(work)} parts")
        sys.stderr.write("\n")
    found: dict[str, Any] = {kind: [] for kind, _, _ in work}
    for future in running:
        kind, rows = future.result()
        found[kind] += rows
    return found


def main() -> None:
    """Simulates, and writes all three files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    found = measure(asked.runs, asked.processes)
    result = {
        "command": f"python benchmarks/verdicts.py --runs {asked.runs}",
        "machine": machine("numpy", "scipy"),
        **found,
    }
    print(write_result("verdicts", result))
    put_tables(Path(HERE / "verdicts.md"), result)
    save(draw(result), HERE / "verdicts.svg")


if __name__ == "__main__":
    main()
