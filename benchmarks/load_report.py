"""Claim: ten million samples are judged in seconds, and so is their report made, which stays below 2 MB.

    python benchmarks/load_report.py [--rounds 5] [--counts 10000 100000 1000000 10000000]

Samples of a simulated queue lie in a sender's file. Judging is all that comes after the last answer of a run: its
samples are put in order, its warm-up is found, its percentiles with their intervals, its verdict. The report is the
whole command `tritonkit load report`. Each is a process of its own, in a new order every round.
Writes load_report.json, load_report.md and load_report.svg.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import HERE, chart, machine, median, put_table, rounds, save, write_result

from loadtest.results.run import RUN_FILE
from loadtest.run.asked import Asked, Promise
from loadtest.run.serving import Serving
from loadtest.run.session import Session
from loadtest.samples.file import SampleWriter
from loadtest.samples.record import SAMPLE, Outcome, Samples
from loadtest.sender.orders import SenderReport
from loadtest.traffic.schedule import Schedule

COUNTS, SEED = (10_000, 100_000, 1_000_000, 10_000_000), 1
RATE_RPS, SERVICE_US, BOUND_MS = 5000.0, 120.0, 4.0
CHUNK = 1 << 20
SENT, RUN, PAGE = "sent.bin", "run", "report.html"
NOBODY = "127.0.0.1:9"  # whom the statistics of the server are asked of: there are none
STAGES = ("judged", "report")
LIMIT_S, LIMIT_BYTES = 60.0, 2_000_000
HEAD = [
    "samples", "their file, MB", *(f"{stage}: {what}" for stage in ("judging", "report")
                                   for what in ("processor time, s", "start to end, s", "peak, MiB")), "page, kB",
]  # fmt: skip


def write_samples(file: Path, count: int) -> None:
    """Of requests to one server with a queue, seven in ten of what it can do, some of them slow or failed."""
    rng = np.random.default_rng(SEED)
    start_us = 0.0
    with SampleWriter(file, {}) as writer:
        for first in range(0, count, CHUNK):
            samples = simulated(rng, min(CHUNK, count - first), start_us)
            start_us = float(samples["due_us"][-1])
            writer.append(samples)


def simulated(rng: np.random.Generator, count: int, start_us: float) -> Samples:
    """In order of due time; the queue is empty at the start."""
    due = start_us + np.cumsum(rng.exponential(1e6 / RATE_RPS, count))
    served = rng.lognormal(np.log(SERVICE_US), 0.5, count)
    # Lindley's recursion without a loop: the walk of work less time, over its lowest point so far.
    walk = np.concatenate([[0.0], np.cumsum(served[:-1] - np.diff(due))])
    latency = walk - np.minimum.accumulate(walk) + served + 200
    samples: Samples = np.zeros(count, SAMPLE)
    samples["due_us"], samples["latency_us"], samples["lag_us"] = due, latency, rng.lognormal(3, 0.5, count)
    samples["outcome"] = np.where(rng.random(count) < 1e-4, Outcome.REFUSED, Outcome.OK)
    samples["status"] = 200
    return samples


def judge(folder: Path) -> None:
    """What a run does once its senders have ended, on the samples in `folder`."""
    sent, run = folder / SENT, folder / RUN
    seconds = (sent.stat().st_size // SAMPLE.itemsize) / RATE_RPS
    asked = Asked({"queue": Promise(BOUND_MS)}, {"queue": 1.0}, RATE_RPS, seconds, command="python load_report.py")
    drawn = {"kind": "poisson", "rate_rps": RATE_RPS, "duration_s": seconds, "seed": SEED}
    nothing = np.zeros(0, np.int64)
    schedule = Schedule(nothing, nothing.astype(np.uint8), nothing.astype(np.uint32), drawn)
    report = SenderReport(
        pid=1, started_unix_ns=0, wall_s=seconds, cpu_s=0.0, busiest_core=0.1, gc_pauses=0, gc_longest_us=0,
        clock_resolution_ns=100, connections_opened=1, waited_for_connection=0,
    )  # fmt: skip
    session = Session(asked, Serving((), folder, NOBODY, NOBODY, "embedded"), {}, run)
    session.begin()
    session.add(schedule, [sent], [report], lead_us=0)
    found = session.result()
    if not found.validity.valid or found.percentiles is None:
        raise SystemExit(f"the run is not believed: {found.validity.reasons}")


def measured(stage: str, folder: Path) -> dict[str, float]:
    """One process from its start to its end: seconds, processor seconds, its peak memory, bytes of what it wrote."""
    tool = str(Path(sys.executable).with_name("tritonkit"))
    page = folder / RUN / PAGE
    command = (
        [sys.executable, __file__, "--judge", str(folder)] if stage == "judged"
        else [tool, "load", "report", str(folder / RUN)]
    )  # fmt: skip
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"`{' '.join(command)}` ended with status {process.returncode}")
    wrote = page if stage == "report" else folder / RUN / RUN_FILE
    return {
        "wall_s": wall_s, "cpu_s": used.ru_utime + used.ru_stime, "peak_mib": used.ru_maxrss / 1024,
        "bytes": wrote.stat().st_size,
    }  # fmt: skip


def summary(runs: Mapping[str, Mapping[int, Sequence[Mapping[str, float]]]]) -> dict[str, dict[int, dict[str, Any]]]:
    """Medians of all rounds, by stage and the number of samples."""
    return {
        stage: {count: {what: median(run[what] for run in found) for what in found[0]}
                for count, found in by_count.items()}
        for stage, by_count in runs.items()
    }  # fmt: skip


def table(told: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> list[list[str]]:
    """The rows for the page."""

    def seconds(found: Mapping[str, float]) -> str:
        return f"{found['median']:.2f} ({found['low']:.2f} to {found['high']:.2f})"

    rows = []
    for count in told["report"]:
        row = [f"{count:,}", f"{count * SAMPLE.itemsize / 1e6:,.3g}"]
        for stage in STAGES:
            found = told[stage][count]
            row += [seconds(found["cpu_s"]), seconds(found["wall_s"]), f"{found['peak_mib']['median']:,.0f}"]
        rows.append([*row, f"{told['report'][count]['bytes']['median'] / 1000:,.0f}"])
    return rows


def draw(told: Mapping[str, Mapping[int, Mapping[str, Any]]], file: Path) -> None:
    """Seconds and memory against the number of samples, on logarithmic axes."""
    figure, axes = chart(2, (9.5, 3.8))
    for (stage, marker), name in zip(zip(STAGES, "os", strict=True), ("judging", "the report"), strict=True):
        for place, what in enumerate(("cpu_s", "peak_mib")):
            found = [told[stage][count][what] for count in told[stage]]
            middle = [one["median"] for one in found]
            bars = [[one["median"] - one["low"] for one in found], [one["high"] - one["median"] for one in found]]
            axes[place].errorbar(list(told[stage]), middle, bars, fmt=f"{marker}-", capsize=3, label=name)
    for axis, words in zip(axes, ("processor time, s", "peak memory, MiB"), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="samples", title=words)
        axis.legend()
    save(figure, file)


def main() -> None:
    """Measures in interleaved rounds and writes all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="numbers of samples")
    parser.add_argument("--judge", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.judge:
        judge(given.judge)
        return
    runs: dict[str, dict[int, list[dict[str, float]]]] = {s: {n: [] for n in given.counts} for s in STAGES}
    with tempfile.TemporaryDirectory() as name:
        for count in given.counts:
            folder = Path(name, str(count))
            folder.mkdir()
            # In a process of its own: what this one has had would count as the peak of those that it starts.
            writing = multiprocessing.get_context("spawn").Process(target=write_samples, args=(folder / SENT, count))
            writing.start()
            writing.join()
            measured("judged", folder)  # the report needs what it writes; and files are in memory from now on
        cases = [(stage, count) for stage in STAGES for count in given.counts]
        for number, (stage, count) in rounds(cases, given.rounds, SEED):
            runs[stage][count].append(measured(stage, Path(name, str(count))))
            sys.stderr.write(f"round {number}/{given.rounds}: {stage} {count:,}: {runs[stage][count][-1]}\n")
    told = summary(runs)
    counts = " ".join(map(str, given.counts))
    write_result("load_report", {
        "command": f"python benchmarks/load_report.py --rounds {given.rounds} --counts {counts}", "seed": SEED,
        **machine("numpy", "scipy", "pydantic", "jinja2"), "rounds": given.rounds, "summary": told, "runs": runs,
    })  # fmt: skip
    draw(told, HERE / "load_report.svg")
    put_table("load_report", HEAD, table(told))
    most = told["report"][max(given.counts)]
    print(f"{max(given.counts):,} samples: report in {most['wall_s']['median']:.1f} s, page of "
          f"{most['bytes']['median'] / 1000:,.0f} kB")  # fmt: skip
    if most["wall_s"]["median"] > LIMIT_S or most["bytes"]["median"] > LIMIT_BYTES:
        raise SystemExit("that is more than is claimed")


if __name__ == "__main__":
    main()
