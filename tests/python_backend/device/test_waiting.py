"""Waiting for the GPU, awake and asleep: the driver's functions are stood in for."""

from __future__ import annotations

import threading
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.device.errors import CudaError

READY, NOT_READY, FAILED = 0, 600, 719


class Driver:
    """Answers `cuEventQuery` with what is left in `told` (the last one for ever); sleeping ends with `end`."""

    def __init__(self, told: list[int], end: int = READY) -> None:
        self.told, self.end = told, end
        self.calls: Counter[str] = Counter()

    def ask(self, _event: int) -> int:
        self.calls["ask"] += 1
        return self.told.pop(0) if len(self.told) > 1 else self.told[0]

    def sleep(self, _event: int) -> int:
        self.calls["sleep"] += 1
        return self.end

    def put(self, _what: int, _stream: int) -> int:
        self.calls["put"] += 1
        return self.end

    def cuda(self) -> Cuda:
        made = Cuda.__new__(Cuda)
        functions: dict[str, Any] = {"cuEventQuery": self.ask, "cuEventSynchronize": self.sleep}
        functions |= dict.fromkeys(("cuGraphLaunch", "cuEventRecord"), self.put)
        made._functions, made._threads = functions, threading.local()
        made._lib = SimpleNamespace(cuGetErrorString=lambda *_: 0)  # type: ignore[assignment]
        return made


def test_asleep_the_driver_is_asked_nothing() -> None:
    driver = Driver([NOT_READY])
    driver.cuda().wait_for(1)
    assert driver.calls == {"sleep": 1}


def test_awake_it_is_asked_until_it_is_ready() -> None:
    driver = Driver([NOT_READY, NOT_READY, READY])
    driver.cuda().wait_for(1, awake_us=60e6)
    assert driver.calls == {"ask": 3}


def test_what_takes_longer_than_thought_is_slept_for() -> None:
    driver = Driver([NOT_READY])
    driver.cuda().wait_for(1, awake_us=50.0)
    assert driver.calls["ask"] >= 1
    assert driver.calls["sleep"] == 1


@pytest.mark.parametrize("awake_us", [0.0, 60e6])
def test_what_went_wrong_is_raised_either_way(awake_us: float) -> None:
    driver = Driver([NOT_READY, FAILED], end=FAILED)
    with pytest.raises(CudaError, match="cuEventSynchronize failed with 719") as caught:
        driver.cuda().wait_for(1, awake_us)
    assert caught.value.lasting
    assert driver.calls["sleep"] == 1


def test_what_cannot_be_put_into_a_stream_is_told() -> None:
    driver = Driver([READY])
    driver.cuda().launch(1, 2)
    driver.cuda().record(1, 2)
    driver.end = FAILED
    for put, name in ((driver.cuda().launch, "cuGraphLaunch"), (driver.cuda().record, "cuEventRecord")):
        with pytest.raises(CudaError, match=f"{name} failed with 719") as caught:
            put(1, 2)
        assert caught.value.status == FAILED
    assert driver.calls == {"put": 4}
