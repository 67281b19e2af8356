"""The figures as a chart, and as tables in photos.md between marks, so that text and data cannot disagree."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _common import chart, save

ORDER = ("bound", "fused", "ensemble", "fastapi", "tutorial")
NAMES = {
    "bound": "bound: no server",
    "fused": "tritonkit, fused",
    "ensemble": "tritonkit, ensemble",
    "fastapi": "FastAPI, 2 workers",
    "tutorial": "tutorials' style",
}
COLOURS = {"bound": "0.6", "fused": "#1b6ca8", "ensemble": "#5aa9d6", "fastapi": "#c98b2b", "tutorial": "#b5533c"}


def draw(summary: Mapping[str, Any], file: Path) -> None:
    """Throughput and CPU an image, a bar a system, with the 95 % interval of each median."""
    figure, (left, right) = chart(2, (10.5, 4.6))
    places = _places(summary)
    for axes, key in ((left, "images_per_s"), (right, "server_cpu_us")):
        widest = max(summary[mode][name][key]["high"] for mode, name in places)
        for (mode, name), y in places.items():
            value = summary[mode][name][key]
            error = [[value["median"] - value["low"]], [value["high"] - value["median"]]]
            axes.barh(y, value["median"], 0.8, xerr=error, color=COLOURS[name], ecolor="0.25", capsize=2)
            axes.text(value["high"] + widest * 0.015, y, f"{value['median']:,.0f}", va="center", fontsize=9)
        for mode in summary:
            top = max(y for (of, _), y in places.items() if of == mode)
            axes.text(widest * 0.005, top + 0.55, mode, fontsize=9, color="0.35", va="bottom")
        axes.set_xlim(0, widest * 1.14)
        axes.set_ylim(min(places.values()) - 0.7, 0.2)
        axes.grid(axis="y", visible=False)
        axes.spines[["top", "right"]].set_visible(False)
    left.set_yticks(list(places.values()), labels=[NAMES[name] for _, name in places])
    right.set_yticks([])
    left.set_xlabel("images a second")
    right.set_xlabel("CPU of all server processes, µs an image")
    left.set_title("Photographs on two cores, client included")
    right.set_title("What an image costs")
    save(figure, file)


def _places(summary: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """(mode, system) → height of its bar, from the top down, with a gap between the modes."""
    places, height = {}, 0.0
    for index, mode in enumerate(summary):
        height -= 0.9 * (index > 0)
        for name in (name for name in ORDER if name in summary[mode]):
            height -= 1
            places[mode, name] = height
    return places


def tables(result: Mapping[str, Any]) -> str:
    """What was found, in Markdown: a table a mode, and the targets."""
    rounds, turns, seconds = (result[key] for key in ("rounds", "turns_a_round", "seconds_a_turn"))
    parts = [
        f"{rounds} rounds of {turns} turns of {seconds:g} s each; medians over the turns, in brackets the 95 % "
        "interval of the median (bootstrap). Systems are compared within one turn. CPU is that of all processes of a "
        "server."
    ]
    for mode, systems in result["summary"].items():
        compared = result["compared"].get(mode, {})
        head = ("", "images/s", "of the bound", "CPU, µs an image", "above the bound, µs", "p50, ms", "p99, ms")
        rows = [_row(name, systems[name], compared.get(name, {})) for name in ORDER if name in systems]
        parts += [f"**{mode[0].upper()}{mode[1:]}**", _table([*head, "largest share of CPU"], rows)]
    parts += ["**Targets**", _table(["", "target", "found", "met"], [_target(t) for t in result["targets"]])]
    return "\n\n".join(parts)


def _target(target: Mapping[str, Any]) -> list[str]:
    sign = "≤" if target["at_most"] else "≥"
    met = "yes" if target["met"] else "no"
    return [target["what"], f"{sign} {target['bound']:g}", _interval(target["found"]), met]


def _row(name: str, found: Mapping[str, Any], compared: Mapping[str, Any]) -> list[str]:
    bound = name == "bound"
    part, used = max(found["cpu_us"].items(), key=lambda item: item[1])
    return [
        NAMES[name],
        _interval(found["images_per_s"]),
        "1" if bound else _interval(compared.get("throughput_of_bound")),
        _interval(found["server_cpu_us"]),
        "0" if bound else _interval(compared.get("cpu_above_bound_us")),
        "–" if bound else f"{found['p50_ms']:.0f}",  # nothing waits there
        "–" if bound else f"{found['p99_ms']:.0f}",
        f"{part} {used:,.0f}",
    ]


def _interval(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "–"
    digits = 2 if abs(figure["median"]) < 10 and abs(figure["high"]) < 10 else 0
    return f"{figure['median']:,.{digits}f} ({figure['low']:,.{digits}f} to {figure['high']:,.{digits}f})"


def profile_table(document: Mapping[str, Any]) -> str:
    """Where the CPU goes, in Markdown: a column a layout and mode, µs an image."""
    found = document["profile"]
    rows: dict[str, dict[str, float]] = {}
    for column, part in found.items():
        rows.setdefault("the bound, at the same time", {})[column] = part["bound"]
        rows.setdefault("tritonserver", {})[column] = part["tritonserver"]
        for name, model in part.items():
            if not isinstance(model, dict) or "program" not in model:
                continue
            rows.setdefault(f"{name}: the program, which is the work itself", {})[column] = model["program"]
            rows.setdefault(f"{name}: the runtime around it", {})[column] = model["adapter"]
            rows.setdefault(f"{name}: Triton's stub", {})[column] = model["stub"]
    body = [[name, *(f"{row[c]:,.0f}" if c in row else "" for c in found)] for name, row in rows.items()]
    return _table(["CPU, µs an image", *found], body)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def put_between(text: str, mark: str, content: str) -> str:
    """`text` with what stands between `<!-- mark -->` and `<!-- /mark -->` replaced. ValueError without the marks."""
    pattern = rf"(?s)(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
    if len(re.findall(pattern, text)) != 1:
        raise ValueError(f"the text has no place between <!-- {mark} --> and <!-- /{mark} -->, or several")
    return re.sub(pattern, lambda found: f"{found[1]}{content}\n{found[2]}", text)
