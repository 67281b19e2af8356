"""Which TensorRT wrote a plan, and where it can be loaded; on real plans' first bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.plan_header import read_header
from tritonkit_runtime.buffered.tensorrt_bindings import is_hopeless, made_by

PLANS = sorted((Path(__file__).resolve().parents[2] / "generator" / "lint" / "plans").glob("*.plan"))


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.stem)
def test_the_header_of_a_real_plan_is_read_as_the_linter_reads_it(plan: Path) -> None:
    data = plan.read_bytes()
    assert made_by(data) == (read_header(data).version or ())[:3] == (8, 6, 1)
    other = data[:24] + bytes([10, 9, 0, 34]) + data[28:]
    assert made_by(other) == (10, 9, 0)
    assert is_hopeless(made_by(other), "8.6.1")
    assert not is_hopeless(made_by(data), "8.6.1")


def test_there_are_real_plans() -> None:
    assert PLANS


@pytest.mark.parametrize(
    "data", [b"", b"ftrt", b"ftrt" + bytes(22), b"ptrt" + bytes(40), b"ftrt\x01" + bytes(40), b"ftrt{}" + bytes(40)]
)
def test_what_says_nothing_is_left_to_tensorrt(data: bytes) -> None:
    assert made_by(data) == ()
    assert not is_hopeless(made_by(data), "8.6.1")


@pytest.mark.parametrize(
    ("made", "version", "hopeless"),
    [
        ((8, 6, 1), "8.6.1", False),
        ((8, 6, 1), "8.6.1.6", False),
        ((8, 6, 2), "8.6.1", True),
        ((8, 6, 1), "10.15.1.29", False),
        ((8, 6, 0), "8.6.1", False),
        ((8, 5, 3), "8.6.1", True),
        ((8, 5, 3), "8.5.3", False),
        ((10, 9, 0), "8.6.1", True),
        ((10, 9, 0), "11.1.0.106", False),
        ((11, 1, 0), "10.15.1.29", True),
    ],
)
def test_a_plan_of_a_later_tensorrt_is_hopeless_and_one_of_before_compatible_plans(
    made: tuple[int, ...], version: str, hopeless: bool
) -> None:
    assert is_hopeless(made, version) is hopeless
