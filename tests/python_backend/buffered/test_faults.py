"""What goes wrong on a device: no room, a batch that fails, a context that is lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from fake_device import FakeDevice
from fake_engine import FakeEngine

from tritonkit_runtime.batch import Tensors
from tritonkit_runtime.buffered.errors import BatchError, BrokenError
from tritonkit_runtime.buffered.requests import begin
from tritonkit_runtime.buffered.ring import Copies, Ring
from tritonkit_runtime.buffered.tensorrt import _unloadable
from tritonkit_runtime.device.errors import CudaError, OutOfMemoryError
from tritonkit_runtime.parameters import ParameterError

SIZES = (1, 4)
X: Tensors = {"x": np.ones((3, 3), np.float32), "k": np.zeros(3, np.int64)}
WAYS: tuple[Copies, ...] = ("inside", "beside")


def test_no_room_says_for_what_how_much_and_what_is_free() -> None:
    device = FakeDevice(limit_bytes=4 * (12 + 8 + 12 + 4) + 20)
    with pytest.raises(OutOfMemoryError) as caught:
        Ring(device, FakeEngine(device), SIZES, slots=2)
    assert str(caught.value) == (
        "there is no room for input x FP32 [4, 3] of slot 1: it takes 48 bytes, and 20 of the GPU's 164 are free "
        "(cuMemAlloc_v2 failed with 2: made up); a smaller largest batch, fewer slots or fewer instances on this GPU "
        "need less"
    )
    assert device.held() == (0, 0, 0, 0)


def test_no_room_for_pinned_memory() -> None:
    device = FakeDevice()
    device.fail("pinned", 2, after=5)
    with pytest.raises(OutOfMemoryError, match=r"no room for pinned memory of input k INT64 \[4\] of slot 1"):
        Ring(device, FakeEngine(device), SIZES, slots=2)
    assert device.held() == (0, 0, 0, 0)


@pytest.mark.parametrize("name", ["stream", "event", "pinned", "allocate", "begin_capture", "launch", "wait"])
@pytest.mark.parametrize("after", range(3, 11))
def test_whatever_fails_while_it_is_made_nothing_is_kept(name: str, after: int) -> None:
    device = FakeDevice()
    engine = FakeEngine(device)
    device.fail(name, 1, after)
    with suppress(CudaError, ParameterError):  # the later calls of some are never made
        Ring(device, engine, SIZES, slots=3).close()
    assert device.held() == (0, 0, 0, 0)
    assert engine.sessions == 0


@pytest.mark.parametrize("run", range(1, 13))
def test_an_engine_that_refuses_while_it_is_made_ready(run: int) -> None:
    device = FakeDevice()
    engine = FakeEngine(device)
    engine.refuses = run
    size, recorded = (4, 1)[(run - 1) // 2 % 2], run % 2 == 0
    sentence = (
        f"a batch of {size} of the made-up engine cannot be recorded as a CUDA graph: the made-up engine refuses"
    )
    if not recorded:
        sentence = f"the made-up engine cannot run a batch of {size}: the made-up engine refuses"
    with pytest.raises(ParameterError, match=sentence):
        Ring(device, engine, SIZES, slots=3)
    assert device.held() == (0, 0, 0, 0)
    assert engine.sessions == 0


def test_a_recording_that_the_driver_refuses() -> None:
    device = FakeDevice()
    device.fail("end_capture", 900)
    with pytest.raises(ParameterError, match="cannot be recorded as a CUDA graph: end_capture failed with 900"):
        Ring(device, FakeEngine(device), SIZES)
    assert device.held() == (0, 0, 0, 0)


@pytest.mark.parametrize("copies", WAYS)
@pytest.mark.parametrize("graphs", [True, False])
def test_a_batch_that_is_refused_costs_its_requests_alone(copies: Copies, graphs: bool) -> None:
    device = FakeDevice()
    engine = FakeEngine(device)
    ring = Ring(device, engine, SIZES, slots=2, copies=copies, graphs=graphs)
    whole = {name: np.concatenate([array, array[:1]]) for name, array in X.items()}
    if graphs:
        device.fail("launch", 1, after=1)
    else:
        engine.refuses = 2
    answers = begin(ring, [whole, X, whole]).answers()
    assert [type(answer) for answer in answers] == [dict, BatchError, dict]
    assert str(answers[1]).startswith("the batch was not run: ")
    assert ring.free == 2
    for _ in range(4):  # through the lane that failed too
        assert ring.run(X)["total"].tolist() == [[9]] * 3


@pytest.mark.parametrize("copies", WAYS)
@pytest.mark.parametrize("status", [700, 719, 999])
def test_a_lost_context_is_said_and_nothing_is_answered_any_more(copies: Copies, status: int) -> None:
    device = FakeDevice()
    engine = FakeEngine(device)
    ring = Ring(device, engine, SIZES, slots=3, copies=copies)
    first = begin(ring, [X])
    engine.crashes, engine.status = 2, status
    second, third = begin(ring, [X]), begin(ring, [X, X])
    sentence = f"this instance lost its GPU and answers nothing any more, .*{status}.*; start it again"
    answers = [answer for started in (second, third, first) for answer in started.answers()]
    broken = [answer for answer in answers if isinstance(answer, BrokenError)]
    assert len(broken) >= 3, "what had passed before may have been answered"
    calls: list[Callable[[], object]] = [ring.take, lambda: ring.run(X), lambda: ring.start(ring.lanes[0], 1)]
    for call in calls:
        with pytest.raises(BrokenError, match=sentence):
            call()
    ring.close()
    engine.close()


@pytest.mark.parametrize("name", ["launch", "copy_in", "record"])
def test_a_context_that_is_lost_while_a_batch_is_started(name: str) -> None:
    device = FakeDevice()
    ring = Ring(device, FakeEngine(device), SIZES, slots=2, copies="beside")
    device.fail(name, 700)
    with pytest.raises(BrokenError, match="this instance lost its GPU"):
        ring.run(X)
    with pytest.raises(BrokenError, match="this instance lost its GPU"):
        ring.run(X)
    ring.close()


def test_a_failure_that_lasts_is_found_though_the_first_error_does_not_say_so() -> None:
    device = FakeDevice()
    ring = Ring(device, FakeEngine(device), SIZES, slots=2, copies="beside")
    device.fail("wait_for", 1)
    device.fail("wait", 719)
    with pytest.raises(BrokenError, match="719"):
        ring.run(X)


def test_nan_passes_through() -> None:
    device = FakeDevice()
    ring = Ring(device, FakeEngine(device), SIZES)
    odd = {"x": np.full((1, 3), np.nan, np.float32), "k": np.zeros(1, np.int64)}
    assert np.isnan(ring.run(odd)["y"]).all()
    assert ring.run(X)["total"].tolist() == [[9]] * 3
    assert np.isfinite(ring.run({name: array[:1] for name, array in X.items()})["total"]).all()


def test_one_requests_nan_is_its_own() -> None:
    """Rows of the same batch do not see each other, but in what a model makes of the whole batch."""
    device = FakeDevice()
    ring = Ring(device, FakeEngine(device), SIZES)
    odd = {"x": np.full((1, 3), np.nan, np.float32), "k": np.zeros(1, np.int64)}
    before, spoiled, after = begin(ring, [X, odd, {name: array[:1] for name, array in X.items()}]).answers()
    assert isinstance(before, dict)
    assert isinstance(spoiled, dict)
    assert isinstance(after, dict)
    assert np.isnan(spoiled["y"]).all()
    assert np.isfinite(before["y"]).all()
    assert after["y"].tolist() == [[2, 2, 2]]


@pytest.mark.parametrize("copies", WAYS)
def test_a_gpu_without_any_room_left_serves_on(copies: Copies) -> None:
    device = FakeDevice()
    ring = Ring(device, FakeEngine(device), SIZES, slots=2, copies=copies)
    free, total = device.memory()
    device._limit = total - free
    assert device.memory()[0] == 0
    for _ in range(5):
        assert ring.run(X)["total"].tolist() == [[9]] * 3


def test_a_plan_that_finds_no_room_is_not_called_damaged() -> None:
    plan = b"ftrt" + bytes(4) + bytes(16) + bytes([8, 6, 1, 0]) + bytes(100)
    device = FakeDevice(limit_bytes=100)
    assert _unloadable(Path("model.plan"), plan, "8.6.1", device) == (
        "there is no room for model.plan of 128 bytes: 100 of the GPU's 100 are free"
    )
    device._limit = 1 << 30
    assert "another kind of GPU made it, or the file is damaged" in _unloadable(Path("a"), plan, "8.6.1", device)
