"""Claim: a rolling restart with the chart's own drain numbers loses no request; with less of a drain it does.

    python benchmarks/reliability.py [--rate 65] [--requests 20000] [--only NAME...]

That is behind a proxy, to which gRPC connections live for ever; or without one, by clients that balance by
themselves, with connections that live 5 s, the chart's default. Behind a proxy that default loses requests, and the
chart refuses it with a gateway.

The chart is rendered for specs/digits.yaml; two of its pods run as processes of this machine with addresses of their
own, behind HAProxy or found by name; benchmarks/reliability_systems plays the controller, the kubelet and the
endpoints. Needs haproxy. Writes reliability.json, the tables of reliability.md and reliability.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _common import HERE, chart, machine, save, write_result
from reliability_systems import stopping
from reliability_systems.experiment import Drain, direct, staged, through_proxy
from reliability_systems.load import PATIENT_S, PATIENT_SHARE, Traffic

from generator.whole_file import write_whole
from tritonkit import Retry

SEED = 20_261_122
LONGEST_S = 240.0  # of a short run, which ends with its rollout
SHORT, CALLS = Traffic(40.0, LONGEST_S, SEED), Traffic(20.0, LONGEST_S, SEED)
NO_AGE = "the chart's drain, gRPC connections live for ever"
BEHIND_A_PROXY_MS, SHORT_AGE_MS = 0, 5000  # how long a gRPC connection lives; 0: for ever
LONG = {NO_AGE: BEHIND_A_PROXY_MS, "the chart's drain, gRPC connections live 5 s": SHORT_AGE_MS}
PROXIED = {
    "the chart's drain, a connection a request": Drain(reuse=False),
    "no preStop, a connection a request": Drain(pre_stop_s=0, reuse=False),
    "endpoints that hear of it after 15 s, a connection a request": Drain(delay_s=15, reuse=False),
    "no preStop and an exit timeout of 1 s": Drain(pre_stop_s=0, exit_timeout_s=1),
    "killed at once": Drain(grace_s=0),
}
DIRECT: dict[str, dict[str, Any]] = {
    "connections live 30 s": {"age_ms": 30_000},
    "connections live 30 s, the client sends again": {"age_ms": 30_000, "retry": Retry()},
    "connections live 5 s": {"age_ms": SHORT_AGE_MS},
    "connections live 5 s, names are looked up every 30 s": {"age_ms": SHORT_AGE_MS, "lookup_ms": 30_000},
}
LONG_DIRECT = "connections live 5 s, headless, one rollout after the other"
COLORS = {"http": "tab:blue", "grpc": "tab:orange"}


def measure(rate: float, requests: int, only: list[str], keep: Callable[[dict[str, Any]], None]) -> None:
    """Every run that is asked for, one after the other; `keep` gets what is new after each."""
    seconds = requests / rate * 1.03 + 1  # arrivals are random: a little more, so that there are enough
    for name, age_ms in LONG.items():
        if not only or name in only:
            with staged(age_ms) as stage:
                run = through_proxy(stage, name, Drain(), Traffic(rate, seconds, SEED), until_the_end=True)
                keep({"proxied": [_tell(run)], "values": stage.values, "command": _without_paths(stage.pod.command)})
    with staged(BEHIND_A_PROXY_MS) as stage:
        for name, drain in PROXIED.items():
            if not only or name in only:
                keep({"proxied": [_tell(through_proxy(stage, name, drain, SHORT))]})
        if not only or "stopping" in only:
            keep({"stopping": stopping.measured(stage.pod, stage.sub("stopping"))})
    for name, how in DIRECT.items():
        if not only or name in only:
            with staged(how["age_ms"]) as stage:
                settings = {key: value for key, value in how.items() if key != "age_ms"}
                keep({"direct": [_tell(direct(stage, name, CALLS, **settings))]})
    if not only or LONG_DIRECT in only:
        with staged(SHORT_AGE_MS, headless=True) as stage:
            traffic = Traffic(rate, seconds, SEED)
            keep({"direct": [_tell(direct(stage, LONG_DIRECT, traffic, until_the_end=True))]})


def _without_paths(command: tuple[str, ...]) -> list[str]:
    """The pod's command as the chart has it, without the paths of this machine and the key."""
    return [
        word.partition("=")[0] + "=…"
        if word.startswith(("--model-repository", "--http-restr", "--grpc-restr"))
        else word
        for word in command
    ]


def _tell(run: dict[str, Any]) -> dict[str, Any]:
    told = run.get("protocols") or {"gRPC": run["calls"]}
    words = ", ".join(f"{name}: {of['lost']} of {of['requests']:,} lost" for name, of in told.items())
    sys.stderr.write(f"{run['name']}: {words}; rollout {run['rollouts'][0]['took_s']} s\n")
    return {**run, "command_line": command_line(), "load_average": os.getloadavg()}


def command_line() -> str:
    """As this process was started."""
    return shlex.join(["python", "benchmarks/reliability.py", *sys.argv[1:]])


def tables(result: dict[str, Any]) -> dict[str, list[str]]:
    """The lines of each table of the page, by its first heading."""
    proxied = ["| behind HAProxy | over | requests | lost | p99 before, ms | p99 during, ms | a rollout, s |",
               "|---|---|---|---|---|---|---|"]  # fmt: skip
    for run in result["proxied"]:
        took = "/".join(f"{span['took_s']:.0f}" for span in run["rollouts"])
        proxied += [
            f"| {run['name']} | {protocol} | {of['requests']:,} | {of['lost']:,} | {of['p99_before_ms']:.0f} "
            f"| {_ms(of)} | {took} |"
            for protocol, of in run["protocols"].items()
        ]
    direct_lines = ["| gRPC without a proxy | requests | lost | sent again | a rollout, s |", "|---|---|---|---|---|"]
    for run in result["direct"]:
        of = run["calls"]
        took = "/".join(f"{span['took_s']:.0f}" for span in run["rollouts"])
        direct_lines.append(
            f"| {run['name']} | {of['requests']:,} | {of['lost']:,} | {of['sent_again']:,} | {took} |"
        )
    stop = ["| when SIGTERM comes | ends after, s | exit status | new HTTP connection | kept one | new gRPC one |",
            "|---|---|---|---|---|---|"]  # fmt: skip
    for case in result.get("stopping", []):
        said = case["ready_after_the_signal"]
        stop.append(
            f"| {case['case']} | {case['exit_s']:.1f} | {case['status']} | {said['new_http']} "
            f"| {said['kept_http'] or ''} | {said['new_grpc'][:60]} |"
        )
    return {"| behind HAProxy": proxied, "| gRPC without": direct_lines, "| when SIGTERM": stop}


def _ms(of: dict[str, Any]) -> str:
    """A p99 that a lost request decides is no latency."""
    p99 = of["p99_during_ms"]
    return "lost" if p99 is None or p99 >= 30_000 else f"{p99:.0f}"


def put_tables(result: dict[str, Any]) -> None:
    """Replaces each table of reliability.md."""
    file = HERE / "reliability.md"
    lines = file.read_text(encoding="utf-8").splitlines()
    for heading, table in tables(result).items():
        first = next(index for index, line in enumerate(lines) if line.startswith(heading))
        last = next((index for index in range(first, len(lines)) if not lines[index].startswith("|")), len(lines))
        lines[first:last] = table
    write_whole(file, "\n".join(lines) + "\n")


def draw(result: dict[str, Any], file: Path) -> None:
    """The long run by the second, with its rollouts; and what each variant lost."""
    figure, (left, right) = chart(2, (13, 5.4))
    run = result["proxied"][0]
    for protocol, seconds in run["seconds"].items():
        values = [np.nan if second["p99_ms"] is None else second["p99_ms"] for second in seconds]
        left.plot(
            values,
            color=COLORS[protocol],
            lw=0.8,
            label=f"{protocol.replace('grpc', 'gRPC').replace('http', 'HTTP')}",
        )
    for number, span in enumerate(run["rollouts"]):
        label, shade = None if number else "a rollout, the next one darker", "0.88" if number % 2 else "0.94"
        left.axvspan(span["from_s"], span["to_s"], color=shade, zorder=0, label=label)
    for number, event in enumerate(each for each in run["events"] if each["what"] == "pod is deleted"):
        left.axvline(event["at_s"], color="0.3", lw=0.8, ls=":", label=None if number else "a pod is deleted")
    left.set_yscale("log")
    left.set_xlabel("seconds")
    left.set_ylabel("p99 of the short requests of a second, ms")
    total = sum(of["requests"] for of in run["protocols"].values())
    lost = sum(of["lost"] for of in run["protocols"].values())
    left.set_title(textwrap.fill(f"{NO_AGE}: {lost} of {total:,} requests lost", 56))
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
    bars = [(one["name"], list(one["protocols"].values())) for one in result["proxied"]]
    bars += [(f"no proxy: {one['name']}", [one["calls"]]) for one in result["direct"]]
    for place, (_, runs) in enumerate(bars):
        count, of = sum(each["lost"] for each in runs), sum(each["requests"] for each in runs)
        right.barh(place, 100 * count / of, color="tab:red")
        right.text(
            100 * count / of, place, f" {count} of {of:,}", va="center", color="tab:red" if count else "tab:green"
        )
    right.set_yticks(range(len(bars)), [textwrap.fill(name, 38) for name, _ in bars])
    right.invert_yaxis()
    right.grid(visible=False, axis="y")
    right.set_xlim(0, 1.3 * max(right.get_xlim()[1], 1))
    right.set_xlabel("requests lost, % of those sent")
    right.set_title("What is lost, and with what")
    save(figure, file)


def about() -> dict[str, Any]:
    """What is needed to repeat it."""
    words = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout.split()
    return {
        "command_line": command_line(),
        "seed": SEED, "machine": machine(), "load_average": os.getloadavg(), "haproxy": words[2],
        "long_requests": {"share": PATIENT_SHARE, "seconds": PATIENT_S},
    }  # fmt: skip


def together(result: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    """The result with what was measured now, in the order above; runs that are no more are left out."""
    found = {**result, **measured}
    for kind, names in (("proxied", [*LONG, *PROXIED]), ("direct", [*DIRECT, LONG_DIRECT])):
        runs = {run["name"]: run for run in [*result.get(kind, []), *measured.get(kind, [])]}
        found[kind] = [runs[name] for name in names if name in runs]
    return found


def main() -> None:
    """Measures, and writes the result, the page's tables and the chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rate", type=float, default=65.0, help="requests a second over each protocol, in the long run"
    )
    parser.add_argument("--requests", type=int, default=20_000, help="over each protocol, in the long run")
    parser.add_argument("--only", nargs="*", default=[], help="these runs; the others stay as they are in the result")
    parser.add_argument("--draw", action="store_true", help="the page and the chart again, from reliability.json")
    asked = parser.parse_args()
    file = HERE / "reliability.json"
    if not asked.draw:
        if not asked.only:
            write_result("reliability", about())

        def keep(measured: dict[str, Any]) -> None:
            write_result("reliability", together(json.loads(file.read_text()), measured))

        measure(asked.rate, asked.requests, asked.only, keep)
    result = json.loads(file.read_text())
    put_tables(result)
    draw(result, HERE / "reliability.svg")


if __name__ == "__main__":
    main()
