"""What a row of the GPU benchmark may choose from, and what a turn notes beside its load: the GPU, and threads."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gpu_busy
import gpu_served
import gpu_served_choices as choices
import gpu_served_turns as turns
import pytest
from gpu_served_choices import Choice, choices_of, for_items, of_choice
from gpu_served_models import Model, spec_of

MODEL = Model("m", Path("x.onnx"), None, gpu_served.PIXELS, gpu_served.BEST, 3, 64)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Says how much of shared memory is free."""
    return lambda free: monkeypatch.setattr("gpu_served_models.shared_memory_bytes", lambda: free)


def test_a_row_chooses_among_all_three_kinds(room: Callable[[int], None]) -> None:
    room(1 << 40)
    found = choices_of("texts_", [2, 4], [(6, 32), (6, 65)], [(12, 32), (8, 128)], item_bytes=1, largest=64)
    assert found == [
        Choice(2, "texts_served_2", "texts_idle_2"), Choice(4, "texts_served_4", "texts_idle_4"),
        Choice(6, "texts_waits_6_32", "texts_idle_6", 32), Choice(12, "texts_shared_12_32", "texts_idle_12", 0, 32),
    ]  # fmt: skip


def test_where_shared_memory_is_short_nothing_waits_and_engines_are_shared_all_the_same(
    room: Callable[[int], None],
) -> None:
    room(1 << 30)
    found = choices_of("", [1, 2, 3, 4], [(2, 8)], [(2, 8)], item_bytes=150_528, largest=128)
    assert [one.served for one in found][-1] == "shared_2_8"
    assert not [one for one in found if one.waits_for]
    assert len(found) < 5


def test_a_model_that_waits() -> None:
    waits = of_choice(MODEL, Choice(3, "m", "", 32), 128)
    assert (waits.preferred, waits.delay_us) == ([32], 60 * 32)
    assert (waits.largest, waits.buckets, waits.buffers) == (64, (), {})
    assert of_choice(MODEL, Choice(3, "m", ""), 128) == MODEL


def test_a_model_whose_engine_is_shared() -> None:
    """Its sizes are those that a user would get, as far as the plan takes them; its queue waits a moment alone."""
    shared = of_choice(MODEL, Choice(12, "m", "", 0, 8), 128)
    assert (shared.largest, shared.delay_us, shared.preferred) == (8, choices.SHARED_DELAY_US, ())
    assert shared.buffers == {"process": "shared"}
    assert shared.buckets == (1, 2, 4, 8, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96)
    assert of_choice(MODEL, Choice(12, "m", "", 0, 8), 30).buckets == (1, 2, 4, 8, 16, 20, 24, 28)
    assert of_choice(MODEL, Choice(1, "m", "", 0, 8), 128).buckets == (1, 2, 4, 8)
    spec = spec_of(shared, on_gpu=True)
    assert "buffers: {buckets: [1, 2, 4, 8, 16, " in spec
    assert '"process": "shared"' in spec or 'process: "shared"' in spec
    assert "max_batch_size: 8, preferred: [], max_queue_delay_us: 1000" in spec
    assert "buffers" not in spec_of(shared, on_gpu=False)


# How busy the GPU was ---------------------------------------------------------------------------------------------


class Nvml:
    """A driver whose GPU is at 25 and 75 in turn; every third look fails. `missing`: what cannot be had of it."""

    def __init__(self, missing: str = "") -> None:
        self.missing, self.looks, self.numbers = missing, 0, list[int]()

    def nvmlInit_v2(self) -> int:  # noqa: N802 — the driver's name
        return int(self.missing == "driver")

    def nvmlDeviceGetHandleByIndex_v2(self, number: int, _: Any) -> int:  # noqa: N802 — likewise
        self.numbers.append(number)
        return int(self.missing == "gpu")

    def nvmlDeviceGetUtilizationRates(self, _: Any, rates: Any) -> int:  # noqa: N802 — likewise
        self.looks += 1
        rates._obj.gpu = (0, 25, 75)[self.looks % 3]
        return int(self.looks % 3 == 0)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Puts this in the driver's place, or raises it."""

    def put(found: Any) -> None:
        def opened(_: str) -> Any:
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(gpu_busy, "ctypes", SimpleNamespace(**{**vars(ctypes), "CDLL": opened}))
        monkeypatch.setattr(gpu_busy, "SETTLED_S", 0.01)
        monkeypatch.setattr(gpu_busy, "PERIOD_S", 0.001)

    return put


@pytest.mark.parametrize("found", [OSError("no such library"), Nvml("driver"), Nvml("gpu")])
def test_without_a_gpu_nothing_is_said_of_it(driver: Callable[[Any], None], found: Any) -> None:
    driver(found)
    before = threading.active_count()
    with gpu_busy.Busy() as busy:
        assert threading.active_count() == before
    assert busy.share is None


def test_the_share_is_the_mean_of_what_was_seen(
    driver: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    nvml = Nvml()
    driver(nvml)
    with gpu_busy.Busy() as busy:
        until = time.monotonic() + 30
        while nvml.looks < 60 and time.monotonic() < until:
            time.sleep(0.005)
    assert busy.share == pytest.approx(0.5, abs=0.01)
    assert nvml.numbers == [3]
    looks = nvml.looks
    time.sleep(0.02)
    assert nvml.looks == looks, "it looks no more"


def test_of_a_block_that_is_too_short_nothing_is_known(
    driver: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = Nvml()
    driver(nvml)
    monkeypatch.setattr(gpu_busy, "SETTLED_S", 60.0)
    began = time.monotonic()
    with gpu_busy.Busy() as busy:
        pass
    assert (busy.share, nvml.looks) == (None, 0)
    assert time.monotonic() - began < 30, "it does not wait for its first look"


# Which threads ran ------------------------------------------------------------------------------------------------


def test_a_thread_that_runs_is_the_busiest_of_its_process() -> None:
    found: list[list[float]] = []

    def run() -> None:
        own, before = str(threading.get_native_id()), turns.ticks(os.getpid())
        while turns.ticks(os.getpid())[own] < before[own] + 20:
            sum(range(10_000))
        found.append(turns._busiest(os.getpid(), before))

    spinning = threading.Thread(target=run)
    spinning.start()
    spinning.join()
    [busiest] = found
    assert 0.2 <= busiest[0] < 20
    assert busiest == sorted(busiest, reverse=True)
    assert len(busiest) <= 6


def test_seconds_are_of_the_time_since_and_of_threads_that_are_new_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"1": 500, "2": 130, "9": 40, **{str(10 + i): 1 for i in range(9)}}
    monkeypatch.setattr(turns, "ticks", lambda _: now)
    assert turns._busiest(7, {"1": 400, "2": 10, "gone": 800}) == [1.2, 1.0, 0.4, 0.01, 0.01, 0.01]


def test_a_thread_that_ends_while_it_is_looked_at_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, stat in (("11", "11 (a) b) S " + " ".join(map(str, range(1, 30)))), ("12", "")):
        (tmp_path / name).mkdir()
        if stat:
            (tmp_path / name / "stat").write_text(stat)
    monkeypatch.setattr(turns, "Path", lambda _: tmp_path)
    assert turns.ticks(7) == {"11": 11 + 12}


def test_requests_choose_from_what_may_suit_them() -> None:
    own, few, many = Choice(8, "own", "", 64), Choice(12, "few", "", 0, 32), Choice(24, "many", "", 0, 16)
    assert for_items([own, few, many], 1) == [own, many]
    assert for_items([own, few, many], 8) == [many]
    assert for_items([own, few, many], 1, small=True) == [own, few]
    assert for_items([own], 8) == [own]
