"""Claim: on the embedded server a queue policy at times keeps requests waiting for half a second.

    python benchmarks/queue_policy.py [--rounds 7]

Serves specs/digits.yaml without a queue policy, with a largest queue that is never reached, and with a timeout that
is never reached; one server each, in a new order every round. Each gets the same closed loop: 32 requests in flight
over gRPC, every held-out digit three times. Writes queue_policy.json (every latency) and queue_policy.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deploy.embedded.needs import needs_of
from deploy.embedded.server import EmbeddedServer
from generator.gate_set import read_gate_set
from generator.problems import errors
from generator.project import Project
from generator.workspace import open_workspace, render_trees
from generator.write import write
from loadtest.server_statistics import mean_batches, read_counts
from tritonkit import Pipeline

HERE = Path(__file__).parent
POLICIES = {
    "none": "null",
    "max_size 256": "{max_size: 256}",
    "timeout 2 s": "{timeout_us: 2000000}",
}
IN_FLIGHT, WARM_UP, REPEATS, SEED, SLOW_US = 32, 64, 3, 1, 400_000


def spec_with(policy: str, folder: Path) -> Path:
    """specs/digits.yaml with another queue policy on `embedded`."""
    text = (HERE.parent / "specs" / "digits.yaml").read_text()
    if text.count("queue: null") != 1:
        raise SystemExit("specs/digits.yaml no longer says `queue: null` once")
    file = folder / "digits.yaml"
    file.write_text(text.replace("queue: null", f"queue: {policy}"))
    return file


def measure(policy: str) -> dict[str, Any]:
    """One server with `policy`: every latency in microseconds, and the engine's mean batch."""
    project = Project(HERE.parent)
    with tempfile.TemporaryDirectory() as folder:
        work = open_workspace(project, [spec_with(policy, Path(folder))], "embedded")
        if errors(work.problems):
            raise SystemExit(f"the spec has problems: {work.problems}")
        [plan] = work.plans["embedded"]
        [tree] = render_trees(work)
        repository = Path(folder) / "repository"
        write(tree.files, repository, owner_of=tree.owners.__getitem__)
        items = read_gate_set(project.path("data/digits-gate.npz"), plan.inputs).items
        with (
            EmbeddedServer(repository, needs_of([plan])) as server,
            Pipeline(plan.name, server.grpc_address, in_flight=IN_FLIGHT) as client,
        ):
            client.infer(items[:WARM_UP])
            before = read_counts(server.http_address)
            answers = client.infer(items * REPEATS)
            after = read_counts(server.http_address)
    if not all(answer.ok for answer in answers):
        raise SystemExit("a request failed")
    return {
        "latencies_us": [answer.latency_us for answer in answers],
        "mean_batch": mean_batches(before, after)["digits_engine"],
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Over all rounds of one policy."""
    latencies = sorted(us for run in runs for us in run["latencies_us"])
    slow = [us for us in latencies if us > SLOW_US]
    return {
        "requests": len(latencies),
        "slower_than_400_ms": len(slow),
        "rounds_with_one": sum(any(us > SLOW_US for us in run["latencies_us"]) for run in runs),
        "p50_ms": latencies[len(latencies) // 2] / 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99)] / 1000,
        "max_ms": latencies[-1] / 1000,
    }


def draw(runs: dict[str, list[dict[str, Any]]], file: Path) -> None:
    """Latency by percentile, one line a policy, all rounds together."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "tritonkit"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    for (name, measured), style in zip(runs.items(), ("-", "--", ":"), strict=True):
        latencies = sorted(us / 1000 for run in measured for us in run["latencies_us"])
        count = len(latencies)
        axes.plot([count / (count - rank) for rank in range(count)], latencies, style, label=f"queue: {name}", lw=2)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = {"50": 2, "90": 10, "99": 100, "99.9": 1000}
    axes.set_xticks(list(ticks.values()), labels=[f"{name} %" for name in ticks])
    axes.set_yticks([1, 10, 100, 1000], labels=["1", "10", "100", "1000"])
    axes.set_xlabel("share of requests that are faster")
    axes.set_ylabel("latency, ms")
    axes.axhline(500, color="0.7", lw=1)
    axes.text(1.1, 520, "500 ms", color="0.4", va="bottom")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    axes.set_title("Digits on the embedded server, 32 in flight: with a queue policy and without", fontsize=11)
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Measures in interleaved rounds and writes both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    order = random.Random(SEED)  # noqa: S311
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in POLICIES}
    for number in range(rounds):
        for name in order.sample(list(POLICIES), len(POLICIES)):
            runs[name].append(measure(POLICIES[name]))
            sys.stderr.write(f"round {number + 1}/{rounds}: {name}: {summary(runs[name][-1:])}\n")
    result = {
        "format": 1, "command": f"python benchmarks/queue_policy.py --rounds {rounds}", "seed": SEED,
        "in_flight": IN_FLIGHT, "cores": os.cpu_count(), "python": platform.python_version(),
        "versions": {name: version(name) for name in ("nvidia-pytriton", "tritonclient", "numpy")},
        "summary": {name: summary(measured) for name, measured in runs.items()}, "runs": runs,
    }  # fmt: skip
    (HERE / "queue_policy.json").write_text(json.dumps(result) + "\n")
    draw(runs, HERE / "queue_policy.svg")
    print(json.dumps(result["summary"], indent=2))


if __name__ == "__main__":
    main()
