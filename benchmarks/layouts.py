"""Which layout of a pipeline is the fastest on two cores: `ensemble`, `fused` and `folded` of the photographs.

    python benchmarks/layouts.py [--rounds 5]                         about seven minutes on two cores
    python benchmarks/layouts.py --quick --output /tmp/layouts        half a minute: only whether all of it works

specs/photos.yaml in all three layouts on the embedded server, over scikit-image's photographs in full size, beside
the bound: the same code in two processes without a server. As in photos.py: every round starts all of them anew, they
take turns of a few seconds in a new order each time, one image a request and eight, and every answer is compared with
what OpenCV and ONNX Runtime give alone. Writes layouts.json (every turn, every latency), layouts.svg, and layouts.md:
the page, where there is none, else its table.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import permutations
from pathlib import Path
from typing import Any

import photos
from _common import HERE, chart, machine, median, put_table, save
from photos_systems.bound import BATCH, Bound
from photos_systems.ours import ours
from photos_systems.results import Measured, comparisons, summaries
from photos_systems.served import Served, triton
from photos_systems.work import MODES, Photos, System, expected_answers

from generator.whole_file import write_whole

LAYOUTS = ("ensemble", "fused", "folded")
SYSTEMS = ("bound", *LAYOUTS)
PACKAGES = ("nvidia-pytriton", "onnxruntime", "opencv-python-headless", "numpy", "scikit-image")
HEAD = (
    "layout",
    "images a request",
    "images/s",
    "of the bound",
    "of `ensemble`",
    "CPU, µs an image",
    "p50, ms",
    "p99, ms",
)
PAGE = """# Photographs in all three layouts

What this says holds for Triton 2.51 (the embedded server) on a small, shared machine with 2 cores that other
processes were using too. Absolute figures mean little; ratios are of turns that lie seconds apart.

The pipeline, the photographs and the client are those of [photos.md](photos.md); so is the bound, the same code in
two processes without a server. Medians over all turns, in brackets their 95 % interval. Every answer was compared.

| |
|---|

![Images a second in each layout](layouts.svg)

**Repeat.** `pip install -c constraints.txt -e python_backend -e ".[bench]"`, then
`python benchmarks/layouts.py`. Every turn is in [layouts.json](layouts.json).
"""
_COLOURS = {"bound": "#999999", "ensemble": "#e69f00", "fused": "#0072b2", "folded": "#009e73"}


def systems(photographs: Photos, folder: Path) -> list[System]:
    """The bound and every layout, not yet started."""
    expected = expected_answers(photographs, photos.ONNX)
    found: list[System] = []
    for layout in LAYOUTS:
        own = ours(layout, folder)
        if not found:
            found.append(Bound(own.plan, own.files, photographs, expected))
        start = triton(own.repository, own.needs, own.plan.name, photographs)
        found.append(Served(layout, start, photographs, expected))
    return found


def between(slices: Sequence[Measured]) -> dict[str, dict[str, dict[str, Any]]]:
    """By mode and layout: its throughput as a share of each other layout's, of the same turn each time."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for mode in dict.fromkeys(part.mode for part in slices):
        rates = {(part.system, part.place): part.images_per_s for part in slices if part.mode == mode}
        places = list(dict.fromkeys(place for _, place in rates))
        for one, other in permutations(LAYOUTS, 2):
            share = median(rates[one, place] / rates[other, place] for place in places)
            found.setdefault(mode, {}).setdefault(one, {})[other] = share
    return found


def rows(result: Mapping[str, Any]) -> list[list[str]]:
    """The table: a row a system and mode."""
    found = []
    for mode, of in result["summary"].items():
        for name in SYSTEMS:
            share = result["compared"].get(mode, {}).get(name, {}).get("throughput_of_bound")
            other = result["between"][mode].get(name, {}).get("ensemble")
            figures = of[name]
            found.append([
                "bound: no server" if name == "bound" else f"`{name}`", mode.split()[0],
                _interval(figures["images_per_s"], 0), "1" if share is None else _interval(share, 2),
                "–" if other is None else _interval(other, 2), _interval(figures["server_cpu_us"], 0),
                *("–" if name == "bound" else f"{figures[key]:,.0f}" for key in ("p50_ms", "p99_ms")),
            ])  # fmt: skip
    return found


def _interval(figure: Mapping[str, float], digits: int) -> str:
    return "{:,.{n}f} ({:,.{n}f} to {:,.{n}f})".format(*(figure[key] for key in ("median", "low", "high")), n=digits)


def draw(summary: Mapping[str, Any], file: Path) -> None:
    """Throughput of each layout by images a request, with the 95 % interval of each median, beside the bound."""
    figure, axes = chart(len(summary), (9.0, 3.6))
    for place, (mode, of) in zip(axes, summary.items(), strict=True):
        for y, name in enumerate(reversed(SYSTEMS)):
            rate = of[name]["images_per_s"]
            error = [[rate["median"] - rate["low"]], [rate["high"] - rate["median"]]]
            place.barh(y, rate["median"], 0.7, xerr=error, color=_COLOURS[name], ecolor="0.25", capsize=2)
            place.text(rate["high"] * 1.01, y, f" {rate['median']:,.0f}", va="center", fontsize=9)
        place.set_yticks(range(len(SYSTEMS)), labels=list(reversed(SYSTEMS)))
        place.set_xlim(0, max(of[name]["images_per_s"]["high"] for name in SYSTEMS) * 1.16)
        place.grid(axis="y", visible=False)
        place.spines[["top", "right"]].set_visible(False)
        place.set_xlabel("images a second")
        place.set_title(mode)
    save(figure, file)


def main() -> None:
    """Measures and writes all three files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=photos.SECONDS, help="of one turn")
    parser.add_argument("--turns", type=int, default=photos.SLICES, help="of each system and mode a round")
    parser.add_argument("--quick", action="store_true", help="one round of short turns: figures mean nothing")
    parser.add_argument("--output", type=Path, default=HERE, help="where the files go (default: benchmarks/)")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.turns, options.seconds = 1, 1, photos.QUICK_SECONDS
    options.output.mkdir(parents=True, exist_ok=True)
    photographs = photos.photographs(None)
    with tempfile.TemporaryDirectory() as folder:
        chosen = systems(photographs, Path(folder))
        found = photos.run(chosen, photographs, options.rounds, options.turns, options.seconds)
    result: dict[str, Any] = {
        "format": 1, "command": "python benchmarks/" + " ".join([Path(__file__).name, *sys.argv[1:]]),
        "seed": photos.SEED, "rounds": options.rounds, "turns_a_round": options.turns,
        "seconds_a_turn": options.seconds, "modes": [asdict(mode) for mode in MODES], "bound_batch": BATCH,
        "machine": machine(*PACKAGES), "caveats": photos.CAVEATS[:3],
        "photographs": dict(zip(photographs.names, map(len, photographs.files), strict=True)),
        "summary": summaries(found), "compared": comparisons(found), "between": between(found),
        "slices": [asdict(part) for part in found],
    }  # fmt: skip
    write_whole(options.output / "layouts.json", json.dumps(result) + "\n")
    draw(result["summary"], options.output / "layouts.svg")
    if options.output.resolve() == HERE.resolve():
        if not (HERE / "layouts.md").is_file():
            write_whole(HERE / "layouts.md", PAGE)
        put_table("layouts", HEAD, rows(result))
    for row in rows(result):
        print(" | ".join(row))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
