"""The rows of gpu_served.py: each is what is asked for in one line of its table, measured in interleaved rounds."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import gpu_served_jpeg as decoded_on_gpu
from engines_gpu_plans import interval
from gpu_served_choices import Choice, for_items
from gpu_served_models import Model, as_json, profile_file
from gpu_served_reference import Alone
from gpu_served_turns import (
    EVEN,
    MARGIN,
    P99_US,
    TRANSPORTS,
    Data,
    Load,
    Serving,
    best,
    in_turns,
    judged,
    middle,
    ranked,
)

LeftS = Callable[[], float]


# How many requests are in flight, by items a request and transport; and of texts.
LEVELS: dict[str, Sequence[int]] = {
    "1 body": (96, 128, 176, 240), f"1 {EVEN}": (192, 256, 320, 384), "1 shared memory": (256, 336, 352, 368, 384),
    "8 body": (12, 16, 24), f"8 {EVEN}": (24, 32, 40), "8 shared memory": (24, 32, 40),
    "texts body": (256, 400, 512, 640),
}  # fmt: skip
AGAIN = 3  # of the best settings of a sweep are measured again, for longer, and the best of those is taken


@dataclass(frozen=True)
class Pace:
    """How long turns last (seconds), how many rounds, and how many are in flight."""

    sweep_s: float = 0.8
    turn_s: float = 1.0
    rounds: int = 5
    levels: Mapping[str, Sequence[int]] = field(default_factory=LEVELS.copy)
    files: Sequence[int] = (128, 256, 512)
    quick: bool = False

    @classmethod
    def short(cls) -> Pace:
        """As much as a machine with two cores can serve, and a test can wait for."""
        few = {name: (2, 4) if name.startswith("8") else (8, 16) for name in LEVELS}
        return cls(0.6, 0.8, 2, few, (8, 16), quick=True)

    @property
    def most(self) -> int:
        """Connections that are made evenly."""
        return max(max(levels) for name, levels in self.levels.items() if name.endswith(EVEN))


@dataclass(frozen=True)
class Asked:
    """Requests of so many items, the share of the bound that they are to reach, and which `levels` of the pace.

    `small`: items of a few bytes, not images.
    """

    items: int = 1
    target: float = 0.95
    levels: str = "1"
    small: bool = False


ONES, EIGHTS, TEXTS = Asked(), Asked(8, levels="8"), Asked(1, 0.9, "texts", small=True)


@dataclass(frozen=True)
class Bench:
    """What a row is measured with: a server, what it is asked, and the engine alone."""

    serving: Serving
    data: Data
    alone: Alone
    pace: Pace
    left_s: LeftS


def share_of_bounds(
    bench: Bench, asked: Asked, choices: Sequence[Choice], transports: Sequence[str]
) -> dict[str, Any]:  # fmt: skip
    """Served over the smaller bound, in every transport."""
    choices = for_items(choices, asked.items, small=asked.small)
    found = {transport: _share(bench, asked, choices, transport) for transport in transports}
    return {**found, "answers": dict(bench.data.checker.worst) if bench.data.checker else {}}


def _share(bench: Bench, asked: Asked, choices: Sequence[Choice], transport: str) -> dict[str, Any]:
    """A short sweep finds what may be the best choice and how many are in flight, a longer look at the best of it
    the one that is; in each round both bounds are measured again."""
    serving, data, alone, pace = bench.serving, bench.data, bench.alone, bench.pace
    items, within, levels = asked.items, MARGIN * P99_US, pace.levels[f"{asked.levels} {transport}"]
    if transport == EVEN:
        levels = [level for level in levels if level <= len(serving.made)]
    loads = {one: serving.load(one.served, transport, data, items) for one in choices}
    idles = {one.idle: serving.load(one.idle, transport, data, items, checked=False) for one in choices}

    def tried(one: Choice, level: int, seconds: float) -> dict[str, Any]:
        words = {"choice": one, "instances": one.instances, "waits_for": one.waits_for, "shared": one.shared}
        return {**words, **serving.turn(loads[one], level, seconds)}

    swept = [tried(one, level, pace.sweep_s) for one in choices for level in levels]
    again = [tried(turn["choice"], turn["in_flight"], 2 * pace.sweep_s) for turn in ranked(swept, within)[:AGAIN]]
    chosen = best(again, within)
    one, level = chosen["choice"], int(chosen["in_flight"])
    idle = idles[one.idle]
    answering = [serving.turn(idle, other, pace.sweep_s) for other in levels]
    cases: dict[str, Callable[[], Any]] = {
        "served": partial(serving.turn, loads[one], level, pace.turn_s),
        "engine": partial(alone.rate, pace.turn_s / 2),
    }
    for other in sorted({level, int(best(answering)["in_flight"])}):
        cases[f"answering alone, {other} in flight"] = partial(serving.turn, idle, other, pace.turn_s)
    rounds = in_turns(cases, pace.rounds, bench.left_s)
    return {
        "model": one.served, "instances": one.instances, "waits_for": one.waits_for, "shared": one.shared,
        "in_flight": level, "items_a_request": items, **judged(rounds, asked.target), "engine_batch": alone.best,
        "sweep": [_short(turn) for turn in swept], "again": [_short(turn) for turn in again],
        "sweep_answering_alone": [_short(turn) for turn in answering],
    }  # fmt: skip


def _short(turn: Mapping[str, Any]) -> dict[str, Any]:
    words = ("instances", "waits_for", "shared", "in_flight", "items_per_s", "p50_us", "p99_us")
    return dict(as_json({word: turn[word] for word in words if word in turn}))


def one_item_us(alone: Alone, pace: Pace) -> float:
    """The engine alone, one item at a time."""
    return statistics.median(alone.latency_us(20 if pace.quick else 200))


def latency(bench: Bench, served: str, idle: str, late: Model) -> dict[str, Any]:
    """One request in flight, no delay in the queue: how much more than answering alone and the engine.

    Between two requests the server's and the client's threads sleep as long as an engine takes, and wake up later for
    it. They do so for `late`, too, which answers alone as late as the engine does: over that is what serving it adds.
    """
    serving, data, alone, pace = bench.serving, bench.data, bench.alone, bench.pace
    found: dict[str, Any] = {}
    for transport in TRANSPORTS:
        cases: dict[str, Callable[[], Any]] = {"engine": partial(one_item_us, alone, pace)}
        for case, model in (("served", served), ("answering alone", idle), ("answering late", late.name)):
            load = serving.load(model, transport, data, 1, checked=model == served)
            cases[case] = partial(serving.turn, load, 1, pace.turn_s / 2)
        rounds = in_turns(cases, pace.rounds, bench.left_s)
        over = [one["served"]["p50_us"] - one["answering alone"]["p50_us"] - one["engine"] for one in rounds]
        share = interval(over)
        found[transport] = as_json({
            "over_us": share, "served_us": interval([one["served"]["p50_us"] for one in rounds]),
            "answering_alone_us": interval([one["answering alone"]["p50_us"] for one in rounds]),
            "engine_us": interval([one["engine"] for one in rounds]), "target_us": 150,
            "answering_late_us": interval([one["answering late"]["p50_us"] for one in rounds]),
            "over_late_us": interval([one["served"]["p50_us"] - one["answering late"]["p50_us"] for one in rounds]),
            "waits_us": late.waits_us, "late_split": middle(rounds, "answering late", "server"),
            "met": share["median"] <= 150, "served_split": middle(rounds, "served", "server"), "rounds": rounds,
        })  # fmt: skip
    return found


def open_loop(bench: Bench, row: Mapping[str, Any]) -> dict[str, Any]:
    """p99 over p50 of a Poisson open loop at 70 % of what the closed loop came to, latency counted from due time."""
    serving, data, pace = bench.serving, bench.data, bench.pace
    found: dict[str, Any] = {}
    for transport in (way for way in row if way != "answers"):
        before = row[transport]
        rate = 0.7 * before["items_per_s"]["served"]["median"]
        load = serving.load(before["model"], transport, data, 1)
        cases = {"served": partial(serving.turn, load, serving.clients.count, 2 * pace.turn_s, rate)}
        rounds = in_turns(cases, pace.rounds, bench.left_s)
        ratio = interval([one["served"]["p99_us"] / one["served"]["p50_us"] for one in rounds])
        found[transport] = as_json({
            "p99_over_p50": ratio, "rate": rate, "target": 2,
            **{word: before[word] for word in ("instances", "waits_for", "shared")},
            "p50_us": interval([one["served"]["p50_us"] for one in rounds]),
            "p99_us": interval([one["served"]["p99_us"] for one in rounds]),
            "sent_late_us": max(one["served"]["late_us"] for one in rounds), "met": ratio["median"] <= 2,
            "served_split": middle(rounds, "served", "server"), "rounds": rounds,
        })  # fmt: skip
    return found


def profile(bench: Bench, model: Model, folder: Path, row: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Where the model's Python thread is under full load: shares of its samples by line, `outside execute` first."""
    transport = max(TRANSPORTS, key=lambda word: float(row[word]["items_per_s"]["served"]["median"]))
    load = bench.serving.load(model.name, transport, bench.data, 1)
    file, before = profile_file(folder, model), Counter[str]()
    for number in range(2):
        turn = bench.serving.turn(load, int(row[transport]["in_flight"]), seconds)
        time.sleep(0.4)  # it writes four times a second
        counts = Counter[str]()
        for one in file.parent.glob(f"{file.name}.*[0-9]"):
            counts.update(json.loads(one.read_text()))
        before, counts = (counts, counts - before) if number == 0 else (before, counts - before)
    whole = max(1, sum(counts.values()))
    shares = {place: count / whole for place, count in counts.most_common(40)}
    return dict(as_json({"transport": transport, "samples": whole, "shares": shares, "turn": turn}))


def together(serving: Serving, loads: Sequence[tuple[Load, int]], pace: Pace, left_s: LeftS) -> dict[str, Any]:
    """Models at saturation, each alone and all at once: the sum of what is left of each one's own rate."""
    used = max(1, serving.clients.count // len(loads))

    def one(load: Load, in_flight: int) -> list[dict[str, Any]]:
        return serving.together([(load, in_flight)], pace.turn_s)

    cases: dict[str, Callable[[], Any]] = {load.model: partial(one, load, level) for load, level in loads}
    cases["together"] = partial(serving.together, loads, pace.turn_s)
    rounds = in_turns(cases, pace.rounds, left_s)
    shares = [
        {turn["model"]: turn["items_per_s"] / found[turn["model"]][0]["items_per_s"] for turn in found["together"]}
        for found in rounds
    ]
    whole = interval([sum(share.values()) for share in shares])
    return dict(as_json({
        "sum_of_shares": whole, "shares": {name: interval([s[name] for s in shares]) for name in shares[0]},
        "clients_each": used, "target": 0.9, "met": whole["median"] >= 0.9, "rounds": rounds,
    }))  # fmt: skip


def jpeg(
    bench: Bench, choices: Sequence[Choice], files: Sequence[bytes], way: decoded_on_gpu.Way | None = None
) -> dict[str, Any]:
    """Served over the slower of engine and decoding; that on the cores that clients and front end leave.

    The fastest setting is taken, however long a request waits: a file takes longer to decode than an image to answer.
    `way`: models that decode on the GPU, measured in the same rounds.
    """
    serving, data, alone, pace = bench.serving, bench.data, bench.alone, bench.pace
    loads = {one.served: serving.load(one.served, "body", data, 1) for one in choices}
    swept = [
        {"instances": one.instances, "shared": one.shared,
         **serving.turn(loads[one.served], level, 2 * pace.sweep_s)}
        for one in choices for level in pace.files
    ]  # fmt: skip
    chosen = max(swept, key=lambda turn: float(turn["items_per_s"]))
    name, level = str(chosen["model"]), int(chosen["in_flight"])
    first = serving.turn(loads[name], level, pace.turn_s)
    elsewhere = first["cores"]["front end"] + first["cores"]["clients"]
    cores = max(1, round(len(os.sched_getaffinity(0)) - elsewhere))
    with ExitStack() as stack:
        pool = stack.enter_context(get_context("spawn").Pool(cores, _ready_to_decode, (list(files),)))
        pool.map(_decoded, [0.1] * cores, 1)
        cases: dict[str, Callable[[], Any]] = {
            "served": partial(serving.turn, loads[name], level, pace.turn_s),
            "engine": partial(alone.rate, pace.turn_s / 2),
            "decoding": lambda: sum(pool.map(_decoded, [pace.turn_s] * cores, 1)),
        }
        if way is not None:
            tried, there = way.swept(serving, pace.files, pace.sweep_s)
            fastest = max(tried, key=lambda turn: float(turn["items_per_s"]))
            load = there[fastest["instances"]]
            cases |= stack.enter_context(decoded_on_gpu.cases(serving, load, fastest, files, pace.turn_s))
        rounds = in_turns(cases, pace.rounds, bench.left_s)
    more: dict[str, Any] = {}
    if way is not None:
        answers = dict(way.data.checker.worst) if way.data.checker else {}
        more["on_gpu"] = decoded_on_gpu.judged(rounds, fastest, [_short(turn) for turn in tried], answers)
    share = interval([one["served"]["items_per_s"] / min(one["engine"], one["decoding"]) for one in rounds])
    return dict(as_json({
        **more,
        "share_of_the_slower": share, "target": 0.85, "met": share["median"] >= 0.85,
        "instances": chosen["instances"], "shared": chosen["shared"],
        "in_flight": level, "cores_for_decoding": cores, "cores": first["cores"],
        "served": interval([one["served"]["items_per_s"] for one in rounds]),
        "served_p99_us": interval([one["served"]["p99_us"] for one in rounds]),
        "decoding": interval([one["decoding"] for one in rounds]),
        "engine": interval([one["engine"] for one in rounds]),
        "served_split": middle(rounds, "served", "server"), "sweep": [_short(turn) for turn in swept],
        "answers": dict(data.checker.worst) if data.checker else {}, "rounds": rounds,
    }))  # fmt: skip


_FILES: list[bytes] = []


def _ready_to_decode(files: list[bytes]) -> None:
    _FILES.extend(files)


def decode(files: Sequence[bytes]) -> Any:
    """UINT8 [n, 224, 224, 3] of image files, by the steps that are served."""
    import numpy as np

    from tritonkit_runtime.batch import Batch
    from tritonkit_runtime.parameters import Limits, StepSpec
    from tritonkit_runtime.steps import Chain

    steps = [StepSpec("decode", {"to": "rgb"}), StepSpec("resize", {"size": [224, 224], "method": "linear"})]
    value = np.array([[file] for file in files], np.object_)
    batch = Batch({"image": value}, (len(files),))
    return Chain(steps, "bytes", Limits())(batch, value)


def _decoded(seconds: float) -> float:
    """Images a second of one process on one core."""
    import cv2

    cv2.setNumThreads(1)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        decode(_FILES[:8])
        count += len(_FILES[:8])
    return count / (time.perf_counter() - start)
