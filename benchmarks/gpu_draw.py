"""The tables of benchmarks/gpu.md and its chart, from the result files beside it: python benchmarks/gpu_draw.py"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from _common import HERE, chart, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = HERE / "gpu.md"
Found = Mapping[str, Any]
TRANSPORTS = ("body", "shared memory")
WITH_EVEN = ("body", "body, connections even", "shared memory")  # gpu_served_turns.EVEN
ROWS = {"one_image": "one image a request", "eight_images": "eight images a request"}
SIZES = ("1", "8", "32", "64", "128")
WAYS = {
    "plain": "copy in, run, copy out",
    "ring beside, 1 in flight": "ring, copies beside, 1 in flight",
    "ring beside, 2 in flight": "ring, copies beside, 2 in flight",
    "ring inside, 1 in flight": "ring, copies inside, 1 in flight",
    "ring inside, 4 in flight": "ring, copies inside, 4 in flight",
    "requests, ring inside, 3 in flight": "requests through the ring, 3 in flight",
}
COPIED = "kernel, copied on"
SERVERS = ("queue", "input", "compute", "output")
ENGINES = {"own": "engine of its own", "shared": "engine process"}
PARTS = {
    "inputs_and_lane": "taking inputs and a lane", "copying_in": "copying rows in",
    "launching": "launching, zeros after the rows", "waiting": "waiting for the GPU, or the engine process",
    "response": "making responses", "rest": "the rest: Python",
}  # fmt: skip
BLUE, GREEN, RED, GREY, YELLOW = "#4477aa", "#228833", "#ee6677", "#bbbbbb", "#ccbb44"


def load(name: str) -> dict[str, Any]:
    """benchmarks/gpu_<name>.json."""
    found: dict[str, Any] = json.loads((HERE / f"gpu_{name}.json").read_bytes())
    return found


def told(value: Found, digits: int = 0, scale: float = 1.0) -> str:
    """`10,547 (9,876 to 10,927)`, or `10,547 (one round)`."""
    median, low, high = (f"{value[word] * scale:,.{digits}f}" for word in ("median", "low", "high"))
    return f"{median} (one round)" if value.get("runs") == 1 else f"{median} ({low} to {high})"


def transports(row: Found) -> list[str]:
    """Those that were measured."""
    return [transport for transport in WITH_EVEN if transport in row]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def targets(served: Found) -> str:
    """The table of targets: what was aimed at, what was found."""
    baseline = {"one_image": "0.04 usual, 0.83 simple", "eight_images": "0.73"}
    rows = []
    for name, title in ROWS.items():
        for transport in transports(served[name]):
            row = served[name][transport]
            share = told(row["share_of_the_smaller_bound"], 2)
            rows.append([f"{title}, {transport}: served ÷ the smaller bound ({row['smaller_bound']})",
                         baseline[name], f"≥ {row['target']}", share, _met(row)])  # fmt: skip
    for transport in TRANSPORTS:
        row = served["latency"][transport]
        rows.append([f"one in flight, {transport}: over answering alone + the engine, ms", "~0.3",
                     f"≤ {row['target_us'] / 1000:g}", told(row["over_us"], 2, 0.001), _met(row)])  # fmt: skip
    for transport in transports(served["one_image"]):
        row = served.get("open_loop", {}).get(transport)
        if row is None:
            rows.append([f"p99 ÷ p50 at 70 % load, {transport}", "–", "≤ 2", "not measured with this code", "–"])
            continue
        rows.append([f"p99 ÷ p50 at 70 % load, {transport}, {row['rate']:,.0f} images/s", "–", f"≤ {row['target']}",
                     told(row["p99_over_p50"], 2), _met(row)])  # fmt: skip
    row = served["jpeg"]
    share = told(row["share_of_the_slower"], 2)
    rows.append(["JPEG: served ÷ the slower of decoding and engine", "–", f"≥ {row['target']}", share, _met(row)])
    if (own := row.get("on_gpu")) is not None:
        rows.append(["JPEG, decoded on the GPU: served ÷ the slower of nvImageCodec and engine",
                     *_measured(own, "share_of_the_slower")])  # fmt: skip
    texts = served.get("embeddings", {}).get("body")
    rows.append(["embeddings, 128 tokens: served ÷ the smaller bound",
                 *_measured(texts, "share_of_the_smaller_bound")])  # fmt: skip
    rows.append(["three models on one GPU: Σ (together ÷ alone)",
                 *_measured(served.get("three_models"), "sum_of_shares")])  # fmt: skip
    return table(["", "seen before", "target", "measured", "met"], rows)


def _met(row: Found) -> str:
    share = row.get("share_of_the_smaller_bound")
    if share is not None and not row["met"] and share["median"] >= row["target"]:
        return f"no: its p99 is {row['served_p99_us']['median'] / 1000:.1f} ms"
    return "yes" if row["met"] else "no"


def _measured(row: Found | None, word: str) -> list[str]:
    if row is None or "failed" in row:
        return ["–", "≥ 0.9", "not measured", "–"]
    return ["–", f"≥ {row['target']}", told(row[word], 2), _met(row)]


def rates(served: Found) -> str:
    """Images a second of the served model and of its bounds, by request and transport."""
    rows = []
    found = [(f"{title}, {transport}", served[name][transport])
             for name, title in ROWS.items() for transport in transports(served[name])]  # fmt: skip
    if "body" in served.get("embeddings", {}):
        found.append(("embeddings, one text a request, body", served["embeddings"]["body"]))
    for title, row in found:
        by = row["items_per_s"]
        idle = max((one for case, one in by.items() if case.startswith("answering")), key=lambda x: x["median"])
        used = f"{_setting(row)}; {row['in_flight']}"
        p99 = told(row["served_p99_us"], 1, 0.001)
        rows.append([title, used, told(by["served"]), told(idle), told(by["engine"]), p99])
    head = ["", "instances, engine; in flight", "served", "answering alone", "engine alone", "p99 served, ms"]
    return table(head, rows)


def split(served: Found) -> str:
    """What the server counted of the settings that were taken, the GPU's share of time, and the busiest threads."""
    rows = []
    for name, row in [*((f"{ROWS[n]}, {t}", served[n][t]) for n in ROWS for t in transports(served[n])),
                      *((f"open loop, {t}", row) for t, row in served.get("open_loop", {}).items())]:  # fmt: skip
        parts = row["served_split"]
        turns = [one["served"] for one in row["rounds"]]
        busy = [turn["gpu"]["busy"] for turn in turns if "gpu" in turn]
        threads = [statistics.median(turn["busiest_threads"][place] for turn in turns) for place in range(2)]
        rate = row["items_per_s"]["served"]["median"] if "items_per_s" in row else row["rate"]
        rows.append([
            name, f"{rate:,.0f}", f"{parts['mean_batch']:.1f}", f"{statistics.median(busy):.2f}" if busy else "–",
            ", ".join(f"{one:.2f}" for one in threads),
            *(f"{parts[f'{word}_us'] / 1000:.2f}" for word in ("queue", "input", "compute", "output")),
        ])  # fmt: skip
    head = ["", "images/s", "mean batch of an instance", "GPU at work", "busiest threads of the server, cores",
            "queue, ms", "input", "compute", "output"]  # fmt: skip
    return table(head, rows)


def latency(served: Found) -> str:
    """One request in flight, in microseconds: served, what that is made of, and what is left."""
    words = ("served", "answering_alone", "engine", "answering_late", "over", "over_late")
    found = {transport: served.get("latency", {}).get(transport, {}) for transport in TRANSPORTS}
    rows = [[transport, *(told(row[f"{word}_us"]) if f"{word}_us" in row else "–" for word in words)]
            for transport, row in found.items()]  # fmt: skip
    return table(["µs", "served", "answering alone", "engine alone", "answering as late as the engine",
                  "over alone + engine", "over answering late"], rows)  # fmt: skip


def settings(served: Found) -> str:
    """Every setting of the sweep by requests in flight: single images in shared memory."""
    found = served["one_image"]["shared memory"]["sweep"]
    by = {(_setting(turn), turn["in_flight"]): turn for turn in found}
    columns = list(dict.fromkeys(_setting(turn) for turn in found))
    rows = [
        [
            str(level),
            *(f"{by[one, level]['items_per_s']:,.0f}, {by[one, level]['p99_us'] / 1000:.1f}" for one in columns),
        ]
        for level in sorted({level for _, level in by})
    ]
    return table(["in flight", *columns], rows)


def _setting(row: Found) -> str:
    """`24, shared, up to 16`: instances, whose engine, and what their queue waits for or what one hands over."""
    if row.get("shared"):
        return f"{row['instances']}, shared, up to {row['shared']}"
    return f"{row['instances']}, own" + (f", waits for {row['waits_for']}" if row.get("waits_for") else "")


def engine(found: Found) -> str:
    """Items a second over those of the engine alone, by way and size of batch."""
    through = found["throughput"]
    rows = [
        ["engine alone, items/s", *(f"{through[s]['engine alone']['items_per_s']['median']:,.0f}" for s in SIZES)]
    ]
    rows += [[title, *(told(through[size][way]["share"], 2) for size in SIZES)] for way, title in WAYS.items()]
    return table(["share of the faster way of the engine alone", *(f"batch {size}" for size in SIZES)], rows)


def kernel(found: Found) -> str:
    """Milliseconds of the kernel, and how many times as long the others take; a column for each that was measured."""
    verdict: Mapping[str, Found] = found["verdict"]
    others = {"CV-CUDA ÷ kernel": "cvcuda", "copied on threads ÷ kernel": COPIED}
    others = {head: start for head, start in others.items()
              if any(_fastest(one, start) for one in verdict.values())}  # fmt: skip
    rows = []
    for name, one in verdict.items():
        times = one["times_as_long_as_the_kernel"]
        best = _fastest(one, "cpu")
        row = [name, told(one["us"]["kernel"], 2, 0.001), told(times["cpu, 1 thread"], 2),
               f"{told(times[best], 2)}: {best.removeprefix('cpu, ')}",
               told(times["torch"], 2) if "torch" in times else "–"]  # fmt: skip
        for start in others.values():
            way = _fastest(one, start)
            row.append(told(times[way], 2) + (f": {way.removeprefix(start).strip()}" if start == COPIED else "")
                       if way else "–")  # fmt: skip
        rows.append(row)
    head = ["to, batch", "kernel, ms", "CPU, 1 thread ÷ kernel", "fastest CPU ÷ kernel", "torch ÷ kernel", *others]
    return table(head, rows)


def _fastest(one: Found, start: str) -> str:
    """The fastest of the ways whose names begin so; empty where there is none."""
    times = one["times_as_long_as_the_kernel"]
    return min(
        (way for way in times if way.startswith(start)), key=lambda way: float(times[way]["median"]), default=""
    )


def parts(found: Found) -> str:
    """One request in flight, in microseconds: what the client sees, what the server counts, and `execute` by part."""
    alone, columns = found["alone"], [(case, transport) for case in ENGINES for transport in TRANSPORTS]

    def row(title: str, *path: str, of: str = "{}") -> list[str]:
        cells = []
        for case, transport in columns:
            value: Any = alone[transport].get(of.format(case))
            for word in path:
                value = value and value[word]
            cells.append(told(value) if value else "–")
        return [title, *cells]

    rows = [
        row("the client's median", "p50_us"),
        row("the same without clocks", "p50_us", of="{}, without clocks"),
        row("the same of a model that only answers", "p50_us", of="answering alone"),
        ["the engine alone", *[told(alone["engine_us"])] * len(columns)],
        *(row(f"the server's mean: {word}", "server", f"{word}_us") for word in SERVERS),
        row("all of `execute`", "parts_us", "all"),
        *(row(title, "parts_us", part) for part, title in PARTS.items()),
    ]
    return table(["µs", *(f"{ENGINES[case]}, {transport}" for case, transport in columns)], rows)


def parts_loaded(found: Found) -> str:
    """Where instances are under load: shares of their time, and microseconds an image and instance."""
    of = {case: found["loaded"][case] for case in ENGINES}
    rows = [
        ["images/s; mean batch"],
        ["p99, ms; page faults an image"],
        ["outside `execute`: Triton's stub, and nothing to do"],
    ]
    for one in of.values():
        rows[0] += [told(one["items_per_s"]), told(one["mean_batch"], 1)]
        rows[1] += [told(one["p99_us"], 1, 0.001), told(one["page_faults_an_image"], 2)]
        rows[2] += [told(one["share"]["outside"], 2), told(one["us_an_image"]["outside"], 1)]
    for part, title in PARTS.items():
        cells = [[told(one["share"][part], 2), told(one["us_an_image"][part], 1)] for one in of.values()]
        rows.append([title, *(cell for pair in cells for cell in pair)])
    head = [""]
    for case, one in of.items():
        count, level = f"{one['instances']['median']:g}", one["in_flight"]
        head += [f"{ENGINES[case]}, {count} instances, {level} in flight: share", "µs an image and instance"]
    return table(head, rows)


def written(page: str, tables: Mapping[str, str]) -> str:
    """The page with each table between its marks. ValueError where a mark is missing."""
    for name, text in tables.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
        before, found, rest = page.partition(begin)
        _, also, after = rest.partition(end)
        if not found or not also:
            raise ValueError(f"gpu.md has no place for the table: {begin.strip()} … {end.strip()}")
        page = f"{before}{begin}{text}{end}{after}"
    return page


def draw(served: Found, ring: Found, preprocess: Found) -> Any:
    """Four panels: throughput beside its bounds, one request's time, the ring by batch, the kernel by batch."""
    figure, _ = chart(1, (11, 8.2))
    figure.clear()
    (rates_, split), (through, pixels) = figure.subplots(2, 2)
    _rates(rates_, served)
    _split(split, served)
    _through(through, ring)
    _pixels(pixels, preprocess)
    facts = served["facts"]
    figure.suptitle(f"ResNet-50 FP16, TensorRT {facts['tensorrt']} on one {facts['gpu']}", x=0.01, ha="left")
    return figure


def _rates(axes: Axes, served: Found) -> None:
    places = [(n, t) for n in ROWS for t in transports(served[n])]
    for offset, word, colour in ((-0.27, "served", BLUE), (0, "answering alone", GREY), (0.27, "engine", GREEN)):
        for place, (name, transport) in enumerate(places):
            by = served[name][transport]["items_per_s"]
            one = max((by[case] for case in by if case.startswith(word)), key=lambda x: float(x["median"]))
            error = [[one["median"] - one["low"]], [one["high"] - one["median"]]]
            axes.bar(place + offset, one["median"], 0.25, color=colour, yerr=error, capsize=2,
                     label=word if not place else None)  # fmt: skip
    axes.set_axisbelow(True)
    titles = [f"{n.split('_')[0]},\n" + t.replace(", ", ",\n") for n, t in places]
    axes.set_xticks(range(len(places)), titles, fontsize=8 if len(places) > 4 else None)
    axes.set_ylabel("images a second")
    axes.set_title("Served, and its two bounds (one or eight images a request)")
    axes.legend(loc="upper left", ncols=3, fontsize=8.5)
    axes.set_ylim(0, 1.15 * axes.get_ylim()[1])  # room for the legend


def _split(axes: Axes, served: Found) -> None:
    """Of one request: what the server counts, and what is left of the client's time."""
    bars: list[tuple[str, Found, float]] = []
    level = served["one_image"]["body"]["in_flight"]
    for title, row, case in (("nothing but an answer,\none in flight", served["latency"]["body"], "answering alone"),
                             ("served,\none in flight", served["latency"]["body"], "served"),
                             (f"nothing but an answer,\n{level} in flight", served["one_image"]["body"],
                              f"answering alone, {level} in flight"),
                             (f"served,\n{level} in flight", served["one_image"]["body"], "served")):  # fmt: skip
        turns = [one[case] for one in row["rounds"]]
        parts = {word: statistics.median(turn["server"][word] for turn in turns) for word in turns[0]["server"]}
        bars.append((title, parts, statistics.median(turn["p50_us"] for turn in turns)))
    low = [0.0] * len(bars)
    for word, colour in (("queue", YELLOW), ("input", GREEN), ("compute", BLUE), ("output", RED)):
        wide = [parts[f"{word}_us"] / 1000 for _, parts, _ in bars]
        axes.barh(range(len(bars)), wide, 0.6, left=low, color=colour, label=word)
        low = [a + b for a, b in zip(low, wide, strict=True)]
    rest = [max(0.0, p50 / 1000 - had) for (_, _, p50), had in zip(bars, low, strict=True)]
    axes.barh(range(len(bars)), rest, 0.6, left=low, color=GREY, label="outside of the model")
    axes.set_axisbelow(True)
    axes.set_yticks(range(len(bars)), [title for title, _, _ in bars])
    axes.invert_yaxis()
    axes.set_xlabel("ms: the server's means, up to the client's median")
    axes.set_title("Where one request's time goes (image in the body)")
    axes.legend(loc="upper right", fontsize=8.5)


def _through(axes: Axes, ring: Found) -> None:
    colours = (GREY, BLUE, BLUE, GREEN, GREEN, RED)
    for (way, title), colour in zip(WAYS.items(), colours, strict=True):
        share = [ring["throughput"][size][way]["share"] for size in SIZES]
        axes.plot(range(len(SIZES)), [one["median"] for one in share], marker="o", markersize=4, color=colour,
                  linestyle="--" if title.endswith("1 in flight") else "-", label=title)  # fmt: skip
    axes.axhline(1, color="black", lw=0.8)
    axes.set_xticks(range(len(SIZES)), SIZES)
    axes.set_ylim(0, 2.4)
    axes.set_xlabel("batch (FP32 inputs, 0.6 MB an item)")
    axes.set_ylabel("of the engine alone")
    axes.set_title("The ring, without a server")
    axes.legend(loc="upper right", fontsize=8.5, handlelength=4)


def _pixels(axes: Axes, preprocess: Found) -> None:
    verdict, sizes = preprocess["verdict"], ("1", "8", "32", "64")
    rows = [verdict[f"fp32, {size}"] for size in sizes]
    ways = {"cpu, 1 thread": GREY, "cpu, 8 threads": YELLOW, "torch": RED, "kernel": BLUE}
    lines = [(way, colour, [one["us"][way] for one in rows]) for way, colour in ways.items()]
    if all(_fastest(one, "cvcuda") for one in rows):
        lines.append(("CV-CUDA", GREEN, [one["us"][_fastest(one, "cvcuda")] for one in rows]))
    for title, colour, us in lines:
        axes.plot(range(len(sizes)), [one["median"] / 1000 for one in us], marker="o", markersize=4, color=colour,
                  label=title)  # fmt: skip
        axes.fill_between(range(len(sizes)), [one["low"] / 1000 for one in us], [one["high"] / 1000 for one in us],
                          color=colour, alpha=0.2, linewidth=0)  # fmt: skip
    axes.set_yscale("log")
    axes.set_xticks(range(len(sizes)), sizes)
    axes.set_xlabel("batch of photographs, 500x375, decoded")
    axes.set_ylabel("ms until the engine's input is on the GPU")
    axes.set_title("Resize, normalise, lay out (FP32)")
    axes.legend(loc="upper left", fontsize=8.5)


def tables(served: Found, ring: Found, preprocess: Found, *, own: Found, clocks: Found) -> dict[str, str]:
    """Every table of the page by its mark; those of the clocks where a script has measured them.

    `own`: an earlier run, without engines that instances share.
    """
    found = {
        "targets": targets(served), "rates": rates(served), "split": split(served), "settings": settings(served),
        "targets_own": targets(own), "rates_own": rates(own),
        "engine": engine(ring), "kernel": kernel(preprocess),
    }  # fmt: skip
    for name, make, step in (("parts", parts, "alone"), ("parts_loaded", parts_loaded, "loaded")):
        if "rounds" in clocks.get(step, {}):
            found[name] = make(clocks)
    return found


def main() -> None:
    """Writes tables and chart."""
    found = load("served"), load("engine"), load("preprocess")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(written(page, tables(*found, own=load("served_own"), clocks=load("parts"))), encoding="utf-8")
    save(draw(*found), HERE / "gpu.svg")


if __name__ == "__main__":
    main()
