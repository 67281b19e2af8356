"""The clocks in a served model: their arithmetic, and a turn on a real server."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gpu_draw
import gpu_parts
import numpy as np
import pytest
from engines_gpu_plans import Results
from gpu_served import Run
from gpu_served_choices import Choice, of_choice
from gpu_served_clients import RAMP_S, Clients
from gpu_served_turns import Load

# One instance: executions of 1 ms each 3 ms, four requests at a time; the numbers are those of FIELDS.
PERIOD_NS, TOOK_NS, REQUESTS = 3_000_000, 1_000_000, 4
OPTIONS = {"device": "cpu", "instances": "1", "waiting": "", "shared": "", "rows": "", "largest": 4}


def instance(begin_ns: int, count: int) -> gpu_parts.Array:
    begin = begin_ns + PERIOD_NS * np.arange(count, dtype=np.int64)
    #        take, copy, start, wait
    spent = (10_000, 20_000, 40_000, 500_000)
    columns = (begin, begin + TOOK_NS, REQUESTS, begin + 100_000, begin + TOOK_NS - 200_000, *spent)
    return np.stack(np.broadcast_arrays(*columns), axis=1)


def test_the_parts_of_an_execution_are_all_of_it() -> None:
    found = {name: set(values) for name, values in gpu_parts.parts_us(instance(7, 3)).items()}
    assert found == {
        "all": {1000}, "inputs_and_lane": {110}, "copying_in": {20}, "launching": {40}, "waiting": {500},
        "response": {200}, "rest": {130},
    }  # fmt: skip


def test_an_image_takes_its_part_of_a_batch() -> None:
    found = gpu_parts.an_image([instance(7, 11), instance(9, 6)])
    assert found["us_an_image"]["all"] == pytest.approx(TOOK_NS / 1000 / REQUESTS)
    assert found["us_an_image"]["outside"] == pytest.approx((PERIOD_NS - TOOK_NS) / 1000 / REQUESTS)
    assert found["share"]["outside"] == pytest.approx(2 / 3)
    assert found["share"]["waiting"] == pytest.approx(0.5 / 3)
    assert (found["mean_batch"], found["executions"], found["instances"]) == (REQUESTS, 15, 2)


def test_what_counts_is_behind_the_ramp_of_its_own_turn() -> None:
    before, own = instance(1, 50), instance(10**9, 1000)
    [found] = gpu_parts.within([np.concatenate([before, own]), before], 10**9 - 5, 1.0)
    assert found[0, 0] == 10**9 + RAMP_S * 1e9
    assert 10**9 + 0.99e9 < found[-1, 1] <= 2 * 10**9
    with pytest.raises(ValueError, match="the clocks of no instance saw anything"):
        gpu_parts.within([before], 10**9, 1.0)


def test_rows_are_read_in_the_order_of_time(tmp_path: Path) -> None:
    """The oldest are written over when there is no room, and what was not written is zeros."""
    rows = instance(7, 4)
    np.concatenate([rows[2:], rows[:2], 0 * rows]).tofile(tmp_path / "a")
    assert np.array_equal(gpu_parts.executions(tmp_path / "a"), rows)


def test_a_setting() -> None:
    assert gpu_parts.Setting.of("4@192") == gpu_parts.Setting(4, 0, 192)
    assert gpu_parts.Setting.of("12x32@256") == gpu_parts.Setting(12, 32, 256)
    with pytest.raises(ValueError, match="'12x32' is no setting"):
        gpu_parts.Setting.of("12x32")


def test_the_page_tells_every_part() -> None:
    assert ("all", *gpu_draw.PARTS) == gpu_parts.PARTS
    assert tuple(gpu_draw.ENGINES) == (gpu_parts.OWN, gpu_parts.SHARED)


class Played:
    """A Serving whose instances write down one second of work at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, model: str, transport: str, data: Any, items: int, checked: bool = True) -> Load:
        return Load(model, transport, items, "")

    def turn(self, load: Load, in_flight: int, seconds: float) -> dict[str, Any]:
        with (self.folder / f"{load.model}.clocks.{os.getpid()}").open("ab") as file:
            instance(time.perf_counter_ns(), int(seconds * 1e9) // PERIOD_NS).tofile(file)
        server = {f"{word}_us": 5.0 for word in gpu_draw.SERVERS}
        return {"items_per_s": 1e3, "p50_us": 10.0, "p99_us": 20.0, "requests": 300, "server": server, "cores": {},
                "in_flight": in_flight}  # fmt: skip


def test_both_steps_come_to_what_the_page_tells(tmp_path: Path) -> None:
    run = SimpleNamespace(folder=tmp_path, results=Results(tmp_path / "x.json", 60), images=None, largest=64)
    names = ("own", "shared", "own_loaded", "shared_loaded")
    clocked = {name: cast("Any", SimpleNamespace(name=name)) for name in names}
    bench = gpu_parts.Bench(cast("Any", run), cast("Any", Played(tmp_path)), clocked)
    engine = cast("Any", SimpleNamespace(latency_us=lambda batches: [float(batches)]))
    pace = gpu_parts.Pace(1.0, 1.0, 2, 30, 0.0)
    settings = {"own": gpu_parts.Setting(1, 0, 8), "shared": gpu_parts.Setting(1, 32, 16)}
    found = {
        "alone": gpu_parts.one_request(bench, engine, pace),
        "loaded": gpu_parts.under_load(bench, settings, pace),
    }
    assert found["alone"]["engine_us"]["median"] == 30
    assert found["alone"]["body"]["shared"]["parts_us"]["waiting"] == {
        "median": 500, "low": 500, "high": 500, "runs": 2,
    }  # fmt: skip
    assert "parts_us" not in found["alone"]["shared memory"]["own, without clocks"]
    assert [found["loaded"][name]["in_flight"] for name in settings] == [8, 16]
    assert [found["loaded"][name]["largest"] for name in settings] == [64, 32]
    assert found["loaded"]["own"]["mean_batch"]["median"] == REQUESTS
    assert found["loaded"]["own"]["page_faults_an_image"]["low"] >= 0
    assert "| waiting for the GPU, or the engine process | 500 (500 to 500) |" in gpu_draw.parts(found)
    assert "| engine process, 1 instances, 16 in flight: share |" in gpu_draw.parts_loaded(found)


@pytest.mark.server
def test_the_clocks_of_an_engine_of_its_own_and_of_one_that_is_shared(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json", 120)
    with Clients(1, tmp_path) as clients:
        run = Run(argparse.Namespace(**OPTIONS), results, clients, tmp_path)
        assert results.step("reference", run.reference) is not None
        shared = of_choice(run.model(gpu_parts.SHARED, 2), Choice(2, gpu_parts.SHARED, "", 0, 4), run.most)
        models = [run.model(gpu_parts.OWN, 1, delay_us=0), replace(shared, delay_us=0)]
        with gpu_parts.serving(run, models, models) as server:
            bench = gpu_parts.Bench(run, server, {model.name: model for model in models})
            loads = {model.name: server.load(model.name, "shared memory", run.images, 1) for model in models}
            alone = {name: bench.alone(load, 1.5) for name, load in loads.items()}
            loaded = bench.loaded(loads[gpu_parts.SHARED], 6, 1.5)
    for found in alone.values():
        parts = found["parts_us"]
        assert found["executions"] > 1
        assert set(parts) == set(gpu_parts.PARTS)
        assert all(value > 0 for value in parts.values())
    # On a CPU an engine of its own runs while it is launched; the process of a shared one is waited for.
    assert alone[gpu_parts.OWN]["parts_us"]["launching"] > alone[gpu_parts.OWN]["parts_us"]["waiting"]
    assert alone[gpu_parts.SHARED]["parts_us"]["waiting"] > alone[gpu_parts.SHARED]["parts_us"]["launching"]
    assert loaded["instances"] == 2
    assert sum(loaded["share"].values()) - loaded["share"]["all"] == pytest.approx(1)
    assert 1 <= loaded["mean_batch"] <= 4
    assert 0 <= loaded["page_faults_an_image"] < 1000
