"""Which limit a layer is under, and the two roofs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.engine.profile import LayerTime, Roofs, measure_roofs

ROOFS = Roofs(flops_per_s=100e9, bytes_per_s=10e9, threads=1)  # from 10 operations a byte on, arithmetic is the limit


@pytest.mark.parametrize(
    ("ms", "flops", "moved_bytes", "bound", "reached"),
    [
        (1.0, 50_000_000, 1_000_000, "compute", 0.5),
        (1.0, 1_000_000, 5_000_000, "memory", 0.5),
        (1.0, 0, 5_000_000, "memory", 0.5),
        (1.0, 100_000, 10_000, "neither", 0.001),
        (1.0, 0, 0, "neither", 0.0),
        (1.0, None, 10_000, "unknown", None),
        (1.0, 10_000, None, "unknown", None),
        (0.0, 10_000, 10_000, "unknown", None),
    ],
)
def test_the_limit(ms: float, flops: int | None, moved_bytes: int | None, bound: str, reached: float | None) -> None:
    row = LayerTime("layer", "Conv", ms, (), flops, moved_bytes)
    assert ROOFS.bound(row) == bound
    assert ROOFS.of_roof(row) == (None if reached is None else pytest.approx(reached))


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_the_nearer_roof_decides(flops: int, moved_bytes: int) -> None:
    """A layer that takes exactly as long as its roofs allow is at the roof, and under the one that allows less."""
    row = LayerTime("layer", "Conv", 1.0, (), flops, moved_bytes)
    least = ROOFS.least_ms(row)
    assert least is not None
    assert least == pytest.approx(max(1e3 * flops / ROOFS.flops_per_s, 1e3 * moved_bytes / ROOFS.bytes_per_s))
    if least > 0:
        at_roof = LayerTime("layer", "Conv", least, (), flops, moved_bytes)
        assert ROOFS.of_roof(at_roof) == pytest.approx(1)
        assert ROOFS.bound(at_roof) == ("compute" if flops >= 10 * moved_bytes else "memory")


def test_the_higher_of_two_measurements() -> None:
    best = ROOFS.best(Roofs(90e9, 12e9, 1))
    assert best == Roofs(100e9, 12e9, 1)


def test_roofs_are_measured() -> None:
    roofs = measure_roofs(1)
    assert roofs.threads == 1
    assert roofs.flops_per_s > 0
    assert roofs.bytes_per_s > 0
    assert roofs.ridge == roofs.flops_per_s / roofs.bytes_per_s
