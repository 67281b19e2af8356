from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest

from tritonkit_runtime.device import Device
from tritonkit_runtime.device.cuda import Cuda
from tritonkit_runtime.device.errors import CudaError
from tritonkit_runtime.device.held import Held
from tritonkit_runtime.device.host import Host


def test_plain_memory_is_a_device() -> None:
    host: Device = Host()
    a, b = host.allocate(100), host.pinned(100)
    assert a % 64 == b % 64 == 0
    stream, start, end = host.stream(), host.event(), host.event()
    host.record(start, stream)
    ctypes.memset(a, 7, 100)
    host.copy_in(b, a, 50, stream)
    host.zero(b, 10, stream)
    host.record(end, stream)
    host.wait(stream)
    assert ctypes.string_at(b, 60)[:50] == bytes(10) + b"\7" * 40
    assert host.between_us(start, end) > 0
    free, total = host.memory()
    assert 0 < free < total
    host.free(a)
    host.free_pinned(b)
    with pytest.raises(KeyError):
        host.free(a)
    calls: list[Callable[[], object]] = [
        lambda: host.begin_capture(stream), lambda: host.end_capture(stream), lambda: host.launch(1, stream),
        lambda: host.free_graph(1),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(NotImplementedError, match="plain memory has no recordings"):
            call()


def test_a_gpu_is_a_device() -> None:
    """Every call of the interface is there, by the same names and arguments."""
    for name in vars(Device):
        if name.startswith("_") or not callable(getattr(Device, name)):
            continue
        for kind in (Cuda, Host):
            expected, found = getattr(Device, name).__code__, getattr(kind, name).__code__
            count = expected.co_argcount
            assert found.co_varnames[:count] == expected.co_varnames[:count] or name == "free_pinned", (kind, name)


def held(calls: list[str], *failing: tuple[str, int]) -> Held:
    found, fails = Held(), dict(failing)

    def free(name: str) -> None:
        calls.append(name)
        if name in fails:
            raise CudaError(f"{name} failed", fails[name])

    for name in ("first", "second", "third"):
        found.add(lambda name=name: free(name))  # type: ignore[misc]
    return found


def test_everything_is_given_back_last_things_first() -> None:
    calls: list[str] = []
    once = held(calls)
    once.close()
    once.close()
    assert calls == ["third", "second", "first"]


def test_a_failure_stops_nothing_and_is_told_in_the_end() -> None:
    calls: list[str] = []
    with pytest.raises(CudaError, match="third failed"):
        held(calls, ("third", 1), ("second", 1)).close()
    assert calls == ["third", "second", "first"]


def test_a_lost_context_has_nothing_to_give_back() -> None:
    calls: list[str] = []
    held(calls, ("third", 700), ("first", 719)).close()
    assert calls == ["third", "second", "first"]


def test_what_is_half_made_is_given_back_and_its_own_error_is_told() -> None:
    calls: list[str] = []
    with pytest.raises(ValueError, match="the real one"), held(calls, ("second", 1)).or_nothing():
        raise ValueError("the real one")
    assert calls == ["third", "second", "first"]
