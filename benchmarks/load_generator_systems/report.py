"""The page and the chart of the load generator's benchmark, made of its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _common import chart, median, save

from load_generator_systems.ours import CORE_BOUND, IMAGE_BYTES, LAG_BOUND_US
from load_generator_systems.processes import CONNECTIONS

OPEN = {
    "http-raw": "raw HTTP", "grpc-raw": "raw gRPC",
    "http-tritonclient": "tritonclient HTTP", "grpc-tritonclient": "tritonclient gRPC",
}  # fmt: skip
CLOSED = {"wrk": "wrk", "Fast": "Locust FastHttpUser", "Plain": "Locust HttpUser"}
_PAGE = """# The load generator

What this says holds for {cores} cores of one machine; the lines compare what was measured in turns. An open loop
keeps a schedule that was drawn before. A closed one sends as soon as it is answered and has none to keep: its rate is
what a full core can do, and no rate at which latencies could be believed.

**Workload.** Requests with a tensor of {image_bytes:,} random bytes, to a server that only answers (one process for
each that sends), over loopback. The sender's rate is the highest found (doubling, then halving the gap to 6 %) at
which Poisson arrivals of {seconds:g} s were all answered with a send lag of p99 < {lag_ms:g} ms and no second above
{core:.0%} of a core; the closed loops have {connections} connections a process. {rounds} rounds in random order;
medians, and the range over the rounds.

{rates}

![Highest rate of each, and the send lag by rate](load_generator.svg)

## Send lag of one sender

How much later than due the first byte of a request is sent, p50 / p99 in µs (median of the rounds), and the share of
a core in the busiest second.

{lags}

## Samples

A sample is 24 bytes. What a sender that is ready takes grows with its schedule; what keeps samples does not grow.

{memory}

**Repeat.** `pip install -c constraints.txt -e python_backend -e ".[bench]"`, then
`python benchmarks/load_generator.py`. Every run is in [load_generator.json](load_generator.json).
"""


def summary_of(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Case → median, range and count of the rates over the rounds."""
    names = dict.fromkeys(f"{run['system']} x{run['processes']}" for run in runs)
    found = {}
    for name in names:
        rates = [run["rate_rps"] for run in runs if f"{run['system']} x{run['processes']}" == name]
        found[name] = {**median(rates), "least": min(rates), "most": max(rates)}
    return found


def _rate(told: dict[str, Any] | None) -> str:
    if told is None:
        return ""
    return f"{told['median']:,.0f} ({told['least']:,.0f} to {told['most']:,.0f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def lags_of(lags: Sequence[dict[str, Any]]) -> dict[tuple[str, int], dict[str, float]]:
    """Client and rate → medians over the rounds."""
    found = {}
    for key in dict.fromkeys((lag["client"], int(lag["rate_rps"])) for lag in lags):
        mine = [lag for lag in lags if (lag["client"], int(lag["rate_rps"])) == key]
        fields = ("lag_p50_us", "lag_p99_us", "busiest_core")
        found[key] = {field: median(lag[field] for lag in mine)["median"] for field in fields}
    return found


def page(result: dict[str, Any]) -> str:
    """The whole page, Markdown."""
    rates, lags = result["summary"], lags_of(result["lags"])
    rows = [
        [name, loop, _rate(rates.get(f"{key} x1")), _rate(rates.get(f"{key} x2"))]
        for loop, names in (("open", OPEN), ("closed", CLOSED)) for key, name in names.items()
    ]  # fmt: skip
    at = sorted({rate for _, rate in lags})
    lag_rows = [
        [OPEN[client], *(
            "" if (told := lags.get((client, rate))) is None
            else f"{told['lag_p50_us']:,.0f} / {told['lag_p99_us']:,.0f} ({told['busiest_core']:.0%})" for rate in at
        )]
        for client in OPEN
    ]  # fmt: skip
    memory = [
        [f"{told['samples']:,}", f"{told['ready_bytes'] / 2**20:,.0f}", f"{told['grown_bytes'] / 2**20:,.1f}",
         f"{told['file_bytes'] / 2**20:,.1f}", f"{told['us_a_sample']:.2f}"]
        for told in result["memory"]
    ]  # fmt: skip
    return _PAGE.format(
        cores=result["cores"], image_bytes=IMAGE_BYTES, seconds=result["seconds"], lag_ms=LAG_BOUND_US / 1000,
        core=CORE_BOUND, connections=CONNECTIONS, rounds=result["rounds"],
        rates=_table(["what sends", "loop", "one process, requests/s", "two processes, requests/s"], rows),
        lags=_table(["client", *(f"{rate:,} requests/s" for rate in at)], lag_rows),
        memory=_table(
            ["samples", "sender that is ready, MiB", "grown while keeping them, MiB", "file, MiB", "µs a sample"],
            memory,
        ),
    )  # fmt: skip


def draw(result: dict[str, Any], file: Path) -> None:
    """Left the rates with one and two processes, right the p99 of the send lag by rate."""
    figure, (left, right) = chart(2, (11, 4.2))
    names = {**OPEN, **CLOSED}
    for place, (key, name) in enumerate(reversed(names.items())):
        for processes, offset, colour in ((1, 0.2, "C0"), (2, -0.2, "C1")):
            told = result["summary"].get(f"{key} x{processes}")
            if told:
                bar = [[told["median"] - told["least"]], [told["most"] - told["median"]]]
                alone = name == next(iter(names.values()))
                label = f"{processes} process{'es' * (processes > 1)}" if alone else None
                left.barh(place + offset, told["median"], 0.38, xerr=bar, color=colour, capsize=2, label=label,
                          alpha=1.0 if key in OPEN else 0.5)  # fmt: skip
    left.set_yticks(
        range(len(names)), [f"{name}{'' if key in OPEN else ' *'}" for key, name in reversed(names.items())]
    )
    left.set(xlabel="requests/s", title="Highest rate with the schedule kept (* closed loop: has none)")
    left.grid(visible=False, axis="y")
    left.legend(loc="lower right")
    lags = lags_of(result["lags"])
    for number, (client, name) in enumerate(OPEN.items()):
        points = sorted((rate, told["lag_p99_us"]) for (key, rate), told in lags.items() if key == client)
        if points:
            right.plot(*zip(*points, strict=True), "os^D"[number] + "-", label=name)
    right.axhline(LAG_BOUND_US, color="0.5", lw=1)
    right.set(xscale="log", yscale="log", xlabel="requests/s", ylabel="µs", title="Send lag, p99, of one sender")
    right.text(right.get_xlim()[1] * 0.95, LAG_BOUND_US * 1.08, "bound", color="0.4", va="bottom", ha="right")
    rates = sorted({rate for _, rate in lags})
    right.set_xticks(rates, [f"{rate:,}" for rate in rates])
    right.minorticks_off()
    right.legend()
    save(figure, file)
