"""`import tritonkit` costs nothing; its names come at first use."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tritonkit

HEAVY = ("numpy", "tritonclient", "grpc", "gevent", "aiohttp", "asyncio", "typing", "dataclasses")


def output_of(code: str) -> str:
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_loads_nothing_heavy_and_takes_less_than_5_ms() -> None:
    root = str(next(iter(tritonkit.__path__))).removesuffix("/tritonkit")
    code = (
        f"import sys, time; sys.path.insert(0, {root!r}); start = time.perf_counter(); import tritonkit; "
        f"print(time.perf_counter() - start, *[m for m in {HEAVY!r} if m in sys.modules])"
    )
    runs = [output_of(code).split() for _ in range(5)]
    assert [loaded for _, *loaded in runs] == [[]] * 5
    assert min(float(seconds) for seconds, *_ in runs) < 0.005


def test_every_public_name_is_there() -> None:
    assert set(tritonkit.__all__) <= set(dir(tritonkit))
    for name in tritonkit.__all__:
        assert getattr(tritonkit, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'tritonkit' has no attribute 'Pipelne'"):
        _ = tritonkit.Pipelne
