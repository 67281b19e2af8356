"""Which batches become one, and how long they are waited with."""

from __future__ import annotations

import pytest

from tritonkit_runtime.buffered.buckets import Buckets
from tritonkit_runtime.engine_process.merging import TRY_EVERY, Times, chosen, hold_s

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
    assert found.of(4) == pytest.approx(0.015), "of a few all count alike"
    for _ in range(40):
        found.learn(4, 0.010)
    assert found.of(4) == pytest.approx(0.010, rel=0.01)
    found.learn(4, 0.020)
    assert found.of(4) == pytest.approx(0.012, rel=0.01), "one that had to wait counts little"
    for late_s in (0.004, -0.004) * 40:
        found.learn(4, 0.010 + late_s)
    assert 0.0075 < (found.of(4) or 0) < 0.0095, "an end that is noticed late makes the next one short"


def test_what_was_tried_while_others_had_the_device_is_not_taken_for_what_it_is() -> None:
    found = Times()
    found.guess({1: 0.001, 2: 0.009, 4: 0.002, 8: 0.003, 16: 0.050})
    assert [found.of(size) for size in SIZES] == pytest.approx([0.001, 0.002, 0.002, 0.003, 0.006])
    right = Times()
    right.guess(alone := {1: 0.001, 2: 0.0015, 4: 0.002, 8: 0.003, 16: 0.006})
    assert {size: right.of(size) for size in SIZES} == pytest.approx(alone)


def computing(found: Times, seconds: dict[int, float], batches: int) -> list[int]:
    """Batches of single items, of which there are always enough, on a device that takes so many seconds a bucket."""
    buckets, sizes = Buckets(SIZES), []
    for number in range(batches):
        count = chosen([1] * 20, buckets, found, trying=number % TRY_EVERY == TRY_EVERY - 1)
        found.learn(buckets.of(count), seconds[buckets.of(count)])
        sizes.append(count)
    return sizes


def test_a_size_that_was_slow_for_a_while_is_found_again() -> None:
    """While another model has the device large batches take long; with what was learnt then they were never run again."""
    alone = {1: 0.001, 2: 0.0015, 4: 0.002, 8: 0.003, 16: 0.004}
    found = Times()
    found.guess(alone)
    busy = computing(found, {**alone, 16: 0.040}, 100)
    assert busy.count(8) > 90, "all but those that are tried"
    assert busy[-1] == 8
    again = computing(found, alone, 12 * TRY_EVERY)
    assert again[: TRY_EVERY - 1] == [8] * (TRY_EVERY - 1)
    assert again[-TRY_EVERY:] == [16] * TRY_EVERY


def test_a_size_that_is_slower_than_two_of_the_half_is_hardly_run() -> None:
    slow = {1: 0.001, 2: 0.0015, 4: 0.002, 8: 0.003, 16: 0.010}
    found = Times()
    found.guess(slow)
    assert computing(found, slow, 320)[-TRY_EVERY:].count(16) <= 2


def test_what_waits_is_held_until_just_before_the_device_is_free() -> None:
    assert hold_s(4, 16, 0.010, 0.0) == pytest.approx(0.00975)
    assert hold_s(4, 16, 0.010, 0.001) == pytest.approx(0.00875), "its rows take a millisecond"
    assert hold_s(16, 16, 0.010, 0.0) == 0, "a full one waits for nothing"
    assert hold_s(20, 16, 0.010, 0.0) == 0
    assert hold_s(4, 16, 0.0, 0.0) == hold_s(4, 16, -5.0, 0.0) == hold_s(4, 16, 0.0002, 0.0) == 0
