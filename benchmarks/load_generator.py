"""Claim: one process keeps an open-loop schedule at thousands of requests a second, two at nearly twice as many.

    python benchmarks/load_generator.py [--rounds 3] [--seconds 3] [--quick]

Every client of the sender at the highest rate that it keeps, with one process and with two, beside wrk and Locust's
own users, against a server that only answers; then the send lag at fixed rates, and what samples take.
Writes load_generator.json, load_generator.md and load_generator.svg.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _common import HERE, machine, rounds
from load_generator_systems import memory
from load_generator_systems.ours import Way, highest, requests, run
from load_generator_systems.processes import locust, responders, wrk
from load_generator_systems.report import CLOSED, OPEN, draw, page, summary_of

from generator.whole_file import write_whole

SEED = 1
LAG_RATES = (1000, 5000, 10_000)
COUNTS = (10_000, 100_000, 1_000_000, 10_000_000)
CASES = [(system, processes) for system in (*OPEN, *CLOSED) for processes in (1, 2)]


def measure(system: str, processes: int, seconds: float, folder: Path, seed: int) -> dict[str, Any]:
    """One system's rate, and the runs of the search for it."""
    protocol = "grpc" if system.startswith("grpc") else "http"
    found: dict[str, Any] = {"system": system, "processes": processes}
    with responders(protocol, processes) as addresses:
        if system in OPEN:
            rate_rps, seen = highest(Way(system, tuple(addresses), seconds, folder), seed)
            return {**found, "rate_rps": rate_rps, "search": [asdict(each) for each in seen]}
        body = folder / "body.bin"
        body.write_bytes(requests().http(addresses[0], "model")[0].partition(b"\r\n\r\n")[2])
        if system == "wrk":
            return {**found, "rate_rps": wrk(addresses, body, seconds)}
        return {**found, "rate_rps": locust(addresses, body, seconds, system)}


def lags(count: int, seconds: float, folder: Path) -> Iterator[dict[str, Any]]:
    """Every client at every fixed rate, one sender."""
    cases = [(client, rate) for client in OPEN for rate in LAG_RATES]
    for number, (client, rate) in rounds(cases, count, SEED):
        with responders(client.partition("-")[0], 1) as addresses:
            seen = run(Way(client, tuple(addresses), seconds, folder), rate, SEED + number)
        sys.stderr.write(f"lag, round {number}/{count}: {client} at {rate:,}: p99 {seen.lag_p99_us:,.0f} us\n")
        yield {"client": client, "round": number, **asdict(seen)}


def main() -> None:
    """Measures in interleaved rounds and writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--quick", action="store_true", help="fewer samples, to try it")
    parser.add_argument("--out", type=Path, default=HERE, help="the folder that is written to")
    asked = parser.parse_args()
    runs, memories = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, (system, processes) in rounds(CASES, asked.rounds, SEED):
            seen = measure(system, processes, asked.seconds, folder, SEED + 1000 * number)
            runs.append({"round": number, **seen})
            sys.stderr.write(f"round {number}/{asked.rounds}: {system} x{processes}: {seen['rate_rps']:,.0f}/s\n")
        lag_runs = list(lags(asked.rounds, asked.seconds, folder))
        with responders("http", 1) as [address]:
            for count in COUNTS[: 2 if asked.quick else None]:
                memories.append(memory.measure(count, folder, address))
    options = f"--rounds {asked.rounds} --seconds {asked.seconds:g}{' --quick' * asked.quick}"
    result = {
        "format": 1, "command": f"python benchmarks/load_generator.py {options}",
        "seed": SEED, **machine("numpy", "tritonclient", "grpcio", "geventhttpclient", "locust"),
        "rounds": asked.rounds, "seconds": asked.seconds, "summary": summary_of(runs), "lags": lag_runs,
        "memory": memories, "runs": runs,
    }  # fmt: skip
    write_whole(asked.out / "load_generator.json", json.dumps(result) + "\n")
    write_whole(asked.out / "load_generator.md", page(result))
    draw(result, asked.out / "load_generator.svg")
    print(json.dumps({name: round(told["median"]) for name, told in result["summary"].items()}, indent=2))


if __name__ == "__main__":
    main()
