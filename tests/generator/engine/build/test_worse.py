"""A new engine against an old one."""

from __future__ import annotations

from typing import Any

import pytest

from generator.engine.build.compare import Limits, worse


def manifest(accuracy: float | None = 0.99, **times: tuple[float, float, float]) -> dict[str, Any]:
    latency = {
        size.strip("_"): {"median_us": mid, "low_us": low, "high_us": high}
        for size, (low, mid, high) in times.items()
    }
    metric = {} if accuracy is None else {"metric": {"name": "top1", "value": accuracy}}
    return {"accuracy": metric, "measured": {"latency_us": latency}}


OLD = manifest(0.99, _1=(95, 100, 105), _8=(380, 400, 420))


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (OLD, []),
        (manifest(0.985, _1=(95, 100, 105)), []),  # as much as is allowed
        (manifest(0.9849, _1=(95, 100, 105)), ["accuracy fell from 0.9900 to 0.9849, by more than 0.005"]),
        (manifest(1.0, _1=(10, 11, 12), _8=(10, 11, 12)), []),
        (manifest(0.99, _1=(106, 109, 112)), []),  # slower, by less than a tenth
        (manifest(0.99, _1=(104, 200, 300)), []),  # slower, and the intervals overlap
        (manifest(0.99, _1=(106, 112, 118)), ["batch 1 takes 112 µs, 12% more than 100 µs; 10% is allowed"]),
        (manifest(0.99, _1=(95, 100, 105), _16=(1000, 1000, 1000)), []),  # a size that the old one was not timed at
        (
            manifest(0.99, _16=(1000, 1000, 1000)),
            ["no latency can be compared: the one engine was timed at batch 1, 8, the other at 16"],
        ),
        (manifest(None, _1=(95, 100, 105)), ["the one engine was judged by top1, the other by none"]),
    ],
)
def test_what_is_worse(new: dict[str, Any], told: list[str]) -> None:
    found = worse(OLD, new, Limits())
    assert [finding.message for finding in found] == told
    assert {finding.code for finding in found} <= {"TK986"}


def test_everything_that_is_worse_is_told_and_the_limits_are_the_users() -> None:
    new = manifest(0.9, _1=(190, 200, 210), _8=(700, 800, 900))
    assert len(worse(OLD, new, Limits())) == 3
    assert worse(OLD, new, Limits(slower=1.0, less_accurate=0.1)) == []
    assert worse(None, new, Limits()) == []


def test_engines_of_other_models_are_not_compared() -> None:
    old = {
        "target": "embedded",
        "model": "one",
        "measured": {"latency_us": {"1": {"median_us": 1.0, "high_us": 1.1}}},
    }
    new = {"target": "embedded", "model": "two", "measured": {"latency_us": {"1": {"median_us": 9.0, "low_us": 8.9}}}}
    assert worse(old, new, Limits()) == []
    assert [f.code for f in worse(old, {**new, "model": "one"}, Limits())] == ["TK986"]
