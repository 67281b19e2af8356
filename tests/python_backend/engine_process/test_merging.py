"""Which batches become one, and how long they are waited with."""

from __future__ import annotations

import pytest

from tritonkit_runtime.buffered.buckets import Buckets
from tritonkit_runtime.engine_process.merging import Times, chosen, hold_s

SIZES = (1, 2, 4, 8, 16)


def times(*seconds: float) -> Times:
    found = Times()
    for size, took_s in zip(SIZES, seconds, strict=False):
        found.learn(size, took_s)
    return found


@pytest.mark.parametrize(
    ("waiting", "count"),
    [
        ([4], 1),
        ([4, 4], 2),
        ([4, 4, 4], 2),  # 12 would be padded to 16
        ([4, 4, 4, 4], 4),
        ([4, 4, 4, 4, 4], 4),
        ([1, 1, 1], 2),
        ([3, 1], 2),
        ([16, 1], 1),
        ([3, 16], 1),  # both do not fit
        ([5, 2, 1, 9], 3),
    ],
)
def test_before_anything_is_known_a_bucket_takes_as_long_as_it_is_large(waiting: list[int], count: int) -> None:
    assert chosen(waiting, Buckets(SIZES), Times()) == count
    assert chosen(waiting, Buckets(SIZES), times(0.001, 0.002)) == count, "two sizes do not tell what others take"


def test_where_every_size_takes_the_same_as_many_as_fit_are_one() -> None:
    even = times(*[0.001] * 5)
    assert chosen([1, 1, 1], Buckets(SIZES), even) == 3
    assert chosen([1] * 20, Buckets(SIZES), even) == 16
    assert chosen([7, 8, 8], Buckets(SIZES), even) == 2


def test_where_a_size_is_slow_two_batches_are_faster_than_one() -> None:
    assert chosen([8, 4], Buckets(SIZES), times(1, 2, 4, 8, 16)) == 1, "12 of 16"
    assert chosen([8, 4], Buckets(SIZES), times(1, 2, 4, 8, 11)) == 2
    assert chosen([8, 8], Buckets(SIZES), times(1, 2, 4, 8, 40)) == 1


def test_times_follow_what_is_measured() -> None:
    found = Times()
    assert found.of(4) is None
    found.learn(4, 0.010)
    assert found.of(4) == 0.010
    found.learn(4, 0.020)
    assert found.of(4) == pytest.approx(0.012), "one that had to wait counts little"
    found.learn(4, 0.009)
    assert found.of(4) == 0.009, "it was held up by nothing"
    found.learn(4, 0.0)
    assert found.of(4) == pytest.approx(0.008), "the end of the one before was noticed late"
    for _ in range(40):
        found.learn(4, 0.0095)
    assert found.of(4) == pytest.approx(0.0095, rel=0.01)


def test_what_waits_is_held_until_just_before_the_device_is_free() -> None:
    assert hold_s(4, 16, 0.010, 0.0) == pytest.approx(0.00975)
    assert hold_s(4, 16, 0.010, 0.001) == pytest.approx(0.00875), "its rows take a millisecond"
    assert hold_s(16, 16, 0.010, 0.0) == 0, "a full one waits for nothing"
    assert hold_s(20, 16, 0.010, 0.0) == 0
    assert hold_s(4, 16, 0.0, 0.0) == hold_s(4, 16, -5.0, 0.0) == hold_s(4, 16, 0.0002, 0.0) == 0
