"""How many pods, and when there are to be more: Little's law on what was measured."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from deploy_plans import make_project, plans_of
from hypothesis import given
from hypothesis import strategies as st

from deploy.operations.autoscaling import (
    LEAST_DEPTH,
    SCALE_AT,
    Depth,
    depth_of,
    interpolated,
    pods_of,
    ruled_depth,
    waiting_requests,
)
from deploy.operations.measured import Interval, Load, Measured, Verdict
from generator.plan import Plan
from generator.spec.pipeline import Objective

NOTHING = Measured()


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return plans_of(make_project(tmp_path_factory.mktemp("scaling") / "p"), "digits")[0]


def load(
    rate_rps: float, waiting: float | None = None, verdict: Verdict = "pass", capacity: Interval | None = None,
    pipeline: str = "digits",
) -> Load:  # fmt: skip
    waits = {} if waiting is None else {f"{pipeline}_engine": waiting * 0.75, f"{pipeline}_steps": waiting * 0.25}
    return Load(pipeline, rate_rps, Interval.exactly(rate_rps), verdict, "because.", "runs/1", waiting=waits,
                capacity_rps=capacity)  # fmt: skip


def test_littles_law() -> None:
    assert waiting_requests(300, 10_000) == pytest.approx(3)


def test_littles_law_holds_in_a_simulated_queue() -> None:
    """The mean over time of how many wait is the rate times the mean wait, whatever the service times are."""
    drawn = random.Random(7)
    now, free, waits, waited_for = 0.0, 0.0, [], []
    for _ in range(20_000):
        now += drawn.expovariate(300)
        start = max(now, free)
        free = start + drawn.choice((0.001, 0.006))
        waits.append(start - now)
        waited_for.append((now, start))
    # Sampled, as a scrape would: how many have come and not been begun.
    moments = sorted([(at, 1) for at, _ in waited_for] + [(at, -1) for _, at in waited_for])
    area, depth, before = 0.0, 0, 0.0
    for at, change in moments:
        area += depth * (at - before)
        depth, before = depth + change, at
    seen = area / before
    assert seen == pytest.approx(waiting_requests(20_000 / before, 1e6 * sum(waits) / len(waits)), rel=1e-6)


def test_the_target_is_at_a_share_of_what_one_pod_carries(digits: Plan) -> None:
    measured = Measured((load(100, 0.5), load(200, 2.0), load(400, 10.0), load(600, 80.0, "fail")))
    depth = depth_of([digits], measured, pods=3)
    # 80 % of 400 lies between 200 (2 wait) and 400 (10).
    assert depth == Depth(pytest.approx(6.8), depth.why, measured=True)
    assert "3 measured rates" not in depth.why
    assert "4 measured rates" in depth.why
    assert "6.8 wait at 320 requests/s" in depth.why


def test_what_a_sweep_found_to_be_the_highest_rate_counts(digits: Plan) -> None:
    best = load(350, 7.0, capacity=Interval(350, 350, 380, 0.99))
    assert depth_of([digits], Measured((best,)), pods=3).requests == pytest.approx(7.0 * SCALE_AT)


@pytest.mark.parametrize("verdict", ["fail", "undecided", "invalid"])
def test_what_is_not_shown_to_hold_is_not_used(digits: Plan, verdict: Verdict) -> None:
    measured = Measured((load(400, 10.0, verdict),))
    assert depth_of([digits], measured, pods=2) == depth_of([digits], NOTHING, pods=2)
    assert not pods_of([digits], measured).measured


def test_a_server_that_did_not_tell_its_queues_leaves_the_rule(digits: Plan) -> None:
    measured = Measured((load(400),))
    depth = depth_of([digits], measured, pods=2)
    assert not depth.measured
    assert pods_of([digits], measured).measured  # what it carries is known all the same


def test_without_a_measurement_half_of_the_objective_is_waited(digits: Plan) -> None:
    depth = ruled_depth(digits, pods=3)
    # 300 requests/s over the two pods that are left when one is gone, 10 ms each.
    assert depth.requests == pytest.approx(150 * 0.010)
    assert "not measured" in depth.why


def test_without_a_promised_rate_it_is_a_batch_an_instance(digits: Plan) -> None:
    depth = ruled_depth(replace(digits, objective=Objective(p99_ms=20)), pods=2)
    assert depth.requests == 32
    assert "not measured" in depth.why


def test_the_depths_of_pipelines_add_up(tmp_path: Path) -> None:
    digits, photos = plans_of(make_project(tmp_path / "p"), "digits", "photos")
    measured = Measured((load(400, 10.0), load(250, 5.0, pipeline="photos")))
    both = depth_of([digits, photos], measured, pods=2)
    assert both.requests == pytest.approx(SCALE_AT * 15.0)
    assert both.measured
    assert not depth_of([digits, photos], Measured((load(400, 10.0),)), pods=2).measured


def test_no_queue_at_all_is_no_target(digits: Plan) -> None:
    assert depth_of([digits], Measured((load(400, 0.0),)), pods=2).requests == LEAST_DEPTH


def test_pods_for_the_promised_rate_and_a_spare_one(digits: Plan) -> None:
    pods = pods_of([digits], Measured((load(140, 1.0),)))
    assert pods.replicas == 3 + 1  # 300 / 140 is more than 2
    assert pods.measured
    assert pods_of([digits], Measured((load(300, 1.0),))).replicas == 2
    assert pods_of([digits], Measured((load(299, 1.0),))).replicas == 3


def test_the_lower_end_of_what_was_measured_counts(digits: Plan) -> None:
    found = load(100, 1.0, capacity=Interval(160, 145, 170, 0.99))
    assert pods_of([digits], Measured((found,))).replicas == 3 + 1


def test_pipelines_share_pods(tmp_path: Path) -> None:
    digits, photos = plans_of(make_project(tmp_path / "p"), "digits", "photos")
    measured = Measured((load(600, 1.0), load(500, 1.0, pipeline="photos")))
    assert pods_of([digits, photos], measured).replicas == 2  # 300/600 + 200/500 of a pod
    assert pods_of([digits, photos], Measured((load(600, 1.0),))).measured is False


def test_nothing_promised_or_measured_is_one_pod_and_a_spare_one(digits: Plan) -> None:
    assert pods_of([digits], NOTHING).replicas == 2
    assert "nothing measured" in pods_of([digits], NOTHING).why
    quiet = replace(digits, objective=Objective(p99_ms=20))
    assert "promises a throughput" in pods_of([quiet], Measured((load(600, 1.0),))).why


def test_the_most_pods(digits: Plan) -> None:
    assert pods_of([digits], NOTHING).most == 10
    assert pods_of([digits], Measured((load(30, 1.0),))).most == 2 * 11
    assert pods_of([digits], NOTHING, most=4).most == 4


curves = st.lists(
    st.tuples(st.integers(1, 5000), st.floats(0, 500)), min_size=1, max_size=8, unique_by=lambda p: p[0]
)


@given(curves, st.floats(0, 6000))
def test_between_points_it_is_between_them(points: Sequence[tuple[int, float]], rate: float) -> None:
    curve = [load(at, waiting) for at, waiting in points]
    found = interpolated(curve, rate)
    assert 0 <= found <= max(waiting for _, waiting in points) + 1e-9
    for one in curve:
        assert interpolated(curve, one.rate_rps) == pytest.approx(one.waiting_requests, abs=1e-9)


@given(promised=st.floats(0.1, 1e6), carried=st.floats(0.1, 1e6))
def test_the_pods_carry_what_is_promised_when_one_is_gone(promised: float, carried: float) -> None:
    plan = _Promising(promised)
    pods = pods_of([plan], Measured((load(carried, 1.0),)))  # type: ignore[list-item]
    assert (pods.replicas - 1) * carried >= promised * (1 - 1e-9)
    assert pods.replicas <= max(2, promised / carried + 2 + 1e-6)


class _Promising:
    """As much of a plan as pods_of reads."""

    name = "digits"

    def __init__(self, throughput_rps: float) -> None:
        self.objective = Objective(p99_ms=20, throughput_rps=throughput_rps)
