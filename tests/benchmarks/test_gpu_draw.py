"""The tables of the page of GPU figures are those of the result files."""

from __future__ import annotations

from typing import Any

import gpu_draw
import pytest


def test_the_tables_are_those_of_the_files() -> None:
    page = gpu_draw.PAGE.read_text(encoding="utf-8")
    results = [gpu_draw.load(name) for name in ("served", "engine", "preprocess")]
    found = gpu_draw.tables(*results, own=gpu_draw.load("served_own"), clocks=gpu_draw.load("parts"))
    assert gpu_draw.written(page, found) == page, "run `python benchmarks/gpu_draw.py`"


def test_a_median_is_told_with_its_interval() -> None:
    assert gpu_draw.told({"median": 10546.7, "low": 9875.7, "high": 10927.0}) == "10,547 (9,876 to 10,927)"
    assert gpu_draw.told({"median": 406.03, "low": 389.5, "high": 482.0}, 2, 0.001) == "0.41 (0.39 to 0.48)"
    assert gpu_draw.told({"median": 3.0, "low": 3.0, "high": 3.0, "runs": 1}, 1) == "3.0 (one round)"
    assert gpu_draw.told({"median": 3.0, "low": 2.0, "high": 4.0, "runs": 2}, 1) == "3.0 (2.0 to 4.0)"


@pytest.mark.parametrize(
    ("share", "met", "told"), [(0.97, False, "no: its p99 is 15.9 ms"), (0.97, True, "yes"), (0.9, False, "no")]
)
def test_a_rate_that_is_met_too_late_is_told_with_its_p99(share: float, met: bool, told: str) -> None:
    served = gpu_draw.load("served")
    row = served["one_image"]["body"]
    row |= {"share_of_the_smaller_bound": {"median": share, "low": share, "high": share}, "met": met}
    row["served_p99_us"] = {"median": 15_900.0, "low": 15_000.0, "high": 16_000.0}
    assert gpu_draw.targets(served).splitlines()[2].endswith(f"| {told} |")


def test_every_setting_of_the_sweep_has_a_column() -> None:
    turn = {"instances": 8, "in_flight": 128, "items_per_s": 9000.0, "p99_us": 5000.0}
    sweep = [
        {**turn, "instances": 4}, {**turn, "waits_for": 64},
        {**turn, "shared": 16, "items_per_s": 19000.0}, {**turn, "shared": 16, "in_flight": 192},
    ]  # fmt: skip
    served = {"one_image": {"shared memory": {"sweep": [*sweep, *({**one, "in_flight": 192} for one in sweep[:2])]}}}
    head, _, first, second = gpu_draw.settings(served).splitlines()
    assert head == "| in flight | 4, own | 8, own, waits for 64 | 8, shared, up to 16 |"
    assert first == "| 128 | 9,000, 5.0 | 9,000, 5.0 | 19,000, 5.0 |"
    assert second == "| 192 | 9,000, 5.0 | 9,000, 5.0 | 9,000, 5.0 |"


def measured(ways: dict[str, float]) -> dict[str, Any]:
    """A row of the verdict: so many times as long as the kernel's 2 ms."""

    def of(value: float) -> dict[str, float]:
        return {"median": value, "low": value, "high": value}

    return {
        "us": {"kernel": of(2000.0), **{name: of(2000.0 * times) for name, times in ways.items()}},
        "times_as_long_as_the_kernel": {name: of(times) for name, times in ways.items()},
    }


def test_what_was_not_measured_has_no_column() -> None:
    plain = {"cpu, 1 thread": 3.0, "cpu, 4 threads": 2.0, "torch": 1.5}
    head, _, row = gpu_draw.kernel({"verdict": {"fp32, 8": measured(plain)}}).splitlines()
    assert head.endswith("| torch ÷ kernel |")
    assert (
        row
        == "| fp32, 8 | 2.00 (2.00 to 2.00) | 3.00 (3.00 to 3.00) | 2.00 (2.00 to 2.00): 4 threads | 1.50 (1.50 to 1.50) |"
    )


def test_the_fastest_of_cvcuda_and_of_the_copies_on_threads() -> None:
    more = {
        "cvcuda: a": 1.25,
        "cvcuda: b": 1.1,
        "kernel, copied on 2 threads": 0.75,
        "kernel, copied on 4 threads": 0.5,
    }
    rows = {"uint8, 8": measured({"cpu, 1 thread": 3.0, **more}), "fp16, 8": measured({"cpu, 1 thread": 3.0})}
    head, _, uint8, fp16 = gpu_draw.kernel({"verdict": rows}).splitlines()
    assert head.endswith("| torch ÷ kernel | CV-CUDA ÷ kernel | copied on threads ÷ kernel |")
    assert uint8.endswith("| – | 1.10 (1.10 to 1.10) | 0.50 (0.50 to 0.50): 4 threads |")
    assert fp16.endswith("| – | – | – |")


def test_the_chart_has_a_line_for_cvcuda_where_it_was_measured() -> None:
    found = {name: gpu_draw.load(name) for name in ("served", "engine", "preprocess")}
    labels = []
    for add in ({}, {"cvcuda: a": 1.25}):
        for name, one in found["preprocess"]["verdict"].items():
            if name.startswith("fp32, "):
                for word, value in measured(add).items():
                    one[word] |= {way: value[way] for way in add}
        figure = gpu_draw.draw(*found.values())
        labels.append([text.get_text() for text in figure.axes[-1].get_legend().get_texts()])
    had = "CV-CUDA" in labels[0]
    assert labels[1] == (labels[0] if had else [*labels[0], "CV-CUDA"])


def test_the_open_loop_is_told_where_it_was_measured() -> None:
    served = {**gpu_draw.load("served"), "open_loop": {}}
    assert gpu_draw.targets(served).count("| ≤ 2 | not measured with this code | – |") == len(gpu_draw.TRANSPORTS)
    assert "open loop" not in gpu_draw.split(served)
    body = served["one_image"]["body"]
    row = {"rate": 9000.0, "target": 2, "met": True, "served_split": body["served_split"], "rounds": body["rounds"],
           "p99_over_p50": {"median": 1.3, "low": 1.2, "high": 1.4}}  # fmt: skip
    served["open_loop"] = {"body": row}
    told = "| p99 ÷ p50 at 70 % load, body, 9,000 images/s | – | ≤ 2 | 1.30 (1.20 to 1.40) | yes |"
    assert told in gpu_draw.targets(served)
    assert gpu_draw.split(served).count("| open loop, body | 9,000 |") == 1


def test_one_in_flight_is_told_also_where_it_was_measured_before_there_was_a_late_model() -> None:
    names = ("served", "answering_alone", "engine", "answering_late", "over", "over_late")
    row = {f"{name}_us": {"median": n, "low": n, "high": n} for n, name in enumerate(names, 1)}
    old = {word: value for word, value in row.items() if "late" not in word}
    head, _, body, shared = gpu_draw.latency({"latency": {"body": row, "shared memory": old}}).splitlines()
    assert head.endswith("| answering as late as the engine | over alone + engine | over answering late |")
    assert body == f"| body | {' | '.join(f'{n} ({n} to {n})' for n in range(1, 7))} |"
    assert shared == "| shared memory | 1 (1 to 1) | 2 (2 to 2) | 3 (3 to 3) | – | 5 (5 to 5) | – |"
    assert gpu_draw.latency({}).splitlines()[2] == "| body | – | – | – | – | – | – |"
    assert gpu_draw.latency(gpu_draw.load("served")).count("\n") == 4


def clocks() -> dict[str, Any]:
    """What gpu_parts.py writes, every number of it another one."""
    number = iter(range(1, 1000))

    def of(*words: str) -> dict[str, Any]:
        return {word: {"median": one, "low": one, "high": one} for word, one in zip(words, number, strict=False)}

    def case() -> dict[str, Any]:
        server = of(*(f"{word}_us" for word in gpu_draw.SERVERS))
        return {**of("p50_us"), "server": server, "parts_us": of("all", *gpu_draw.PARTS)}

    alone = {
        transport: {"own": case(), "shared": case(), "own, without clocks": of("p50_us"), "answering alone": case()}
        for transport in gpu_draw.TRANSPORTS
    }
    loaded = {
        name: {**of("items_per_s", "mean_batch", "instances", "p99_us", "page_faults_an_image"), "in_flight": 192,
               "share": of("outside", *gpu_draw.PARTS), "us_an_image": of("outside", *gpu_draw.PARTS)}
        for name in gpu_draw.ENGINES
    }  # fmt: skip
    return {"alone": {**alone, **of("engine_us"), "rounds": []}, "loaded": {**loaded, "rounds": []}}


def test_the_clocks_have_tables_where_a_script_has_measured_them() -> None:
    others = [gpu_draw.load(name) for name in ("served", "engine", "preprocess")]
    own = gpu_draw.load("served_own")
    assert {"parts", "parts_loaded"}.isdisjoint(gpu_draw.tables(*others, own=own, clocks={}))
    found = clocks()
    told = gpu_draw.tables(*others, own=own, clocks=found)
    assert gpu_draw.written(gpu_draw.PAGE.read_text(encoding="utf-8"), told)
    lines = told["parts"].splitlines()
    assert len({line.count("|") for line in lines}) == 1
    bare = found["alone"]["body"]["own, without clocks"]["p50_us"]["median"]
    assert lines[3].startswith(f"| the same without clocks | {bare} ({bare} to {bare}) |")
    assert lines[3].endswith("| – | – |")
    waiting = found["alone"]["shared memory"]["shared"]["parts_us"]["waiting"]["median"]
    assert next(line for line in lines if "waiting" in line).endswith(f"| {waiting} ({waiting} to {waiting}) |")
    head, _, first, *rest = told["parts_loaded"].splitlines()
    assert head.count("192 in flight: share | µs an image and instance |") == len(gpu_draw.ENGINES)
    assert first.startswith("| images/s; mean batch | ")
    assert len(rest) == 2 + len(gpu_draw.PARTS)


def test_a_page_without_a_place_for_a_table() -> None:
    with pytest.raises(ValueError, match="has no place for the table: <!-- rates -->"):
        gpu_draw.written("# A page\n", {"rates": ""})
