"""How long pods take to go, from the longest request."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from deploy_plans import change, make_project, plans_of
from hypothesis import given
from hypothesis import strategies as st

from deploy.embedded.needs import needs_of
from deploy.operations.drain import (
    MARGIN_S,
    PRE_STOP_S,
    UNBOUNDED_MS,
    UNLOAD_S_PER_INSTANCE,
    bounds_of,
    drain_of,
    exit_timeout_s,
    longest_request_ms,
)
from generator.plan import Plan
from generator.spec.pipeline import Objective
from generator.spec.serving import Batching, Priorities, Queue


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return plans_of(make_project(tmp_path_factory.mktemp("drain") / "p"), "digits")[0]


def with_queues(plan: Plan, *queues: Queue | None) -> Plan:
    """The plan with one queue policy a model."""
    batchings = [Batching(max_batch_size=32, queue=queue) for queue in queues]
    models = [replace(model, batching=batching) for model, batching in zip(plan.models, batchings, strict=True)]
    return replace(plan, models=tuple(models))


def test_a_request_may_wait_in_every_queue_and_run_for_ten_times_the_objective(digits: Plan) -> None:
    assert longest_request_ms(digits) == 3 * 15 + 10 * 20
    assert bounds_of(digits) == "queue timeouts 15+15+15 ms, and 10 times the p99 of 20 ms"


def test_a_pod_of_digits_goes_in_nineteen_seconds(digits: Plan) -> None:
    drain = drain_of([digits])
    # 0.245 s are begun seconds: 1; one instance takes 1.2 to unload: 2; and 1.
    assert drain.exit_timeout_s == 1 + 2 + 1
    assert (drain.pre_stop_s, drain.margin_s, drain.grace_s) == (PRE_STOP_S, MARGIN_S, 10 + 4 + 5)


@pytest.mark.parametrize("queue", [None, Queue(max_size=4), Queue(timeout_us=15_000, on_timeout="delay")])
def test_a_wait_that_nothing_ends_takes_the_servers_own_budget(digits: Plan, queue: Queue | None) -> None:
    bounded = Queue(timeout_us=1000)
    plan = with_queues(digits, bounded, queue, bounded)
    assert longest_request_ms(plan) == UNBOUNDED_MS
    assert bounds_of(plan) == "nothing ends the wait in the queue of digits_engine: 30 s"


def test_the_longest_queue_of_the_priority_levels_counts(digits: Plan) -> None:
    bounded = Queue(timeout_us=1000)
    own = Priorities(levels=2, default=2, queues={1: Queue(timeout_us=7000)})
    plan = with_queues(digits, bounded, bounded, bounded)
    first = replace(
        plan.models[0], batching=Batching(max_batch_size=32, queue=Queue(timeout_us=3000), priorities=own)
    )
    assert longest_request_ms(replace(plan, models=(first, *plan.models[1:]))) == 7 + 1 + 1 + 200
    # Level 2 has no queue of its own, and there is none for all: it waits for ever.
    first = replace(first, batching=Batching(max_batch_size=32, priorities=own))
    assert longest_request_ms(replace(plan, models=(first, *plan.models[1:]))) == UNBOUNDED_MS


def test_without_an_objective_nothing_bounds_a_request(digits: Plan) -> None:
    plan = replace(digits, objective=None)
    assert longest_request_ms(plan) == UNBOUNDED_MS
    assert "has no objective" in bounds_of(plan)


def test_several_pipelines_take_as_long_as_the_longest(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    change(project, "detector", ("timeout_us: 40000", "timeout_us: 4000000"))
    digits, detector = plans_of(project, "digits", "detector")
    assert longest_request_ms(detector) == 3 * 4000 + 10 * 50
    assert drain_of([digits, detector]) == drain_of([detector])
    assert drain_of([detector]).exit_timeout_s == 13 + 2 + 1


def test_the_embedded_server_takes_the_same(digits: Plan) -> None:
    needs = needs_of([digits])
    assert needs.longest_request_ms == longest_request_ms(digits)
    assert needs.exit_timeout_s == drain_of([digits]).exit_timeout_s


@given(
    timeouts_us=st.lists(st.integers(1, 60_000_000), min_size=3, max_size=3),
    p99_ms=st.floats(0.1, 60_000),
    instances=st.integers(1, 64),
)
def test_every_allowed_request_ends_in_time(timeouts_us: list[int], p99_ms: float, instances: int) -> None:
    longest_ms = sum(timeouts_us) / 1000 + 10 * p99_ms
    timeout_s = exit_timeout_s(longest_ms, instances)
    # It ends, the models are unloaded, and a second is left; and no more than what is rounded up is given away.
    needed_s = longest_ms / 1000 + instances * UNLOAD_S_PER_INSTANCE + 1
    assert needed_s <= timeout_s + 1e-6
    assert timeout_s < needed_s + 2
    assert isinstance(timeout_s, int)


@given(p99_ms=st.floats(0.1, 10_000), more=st.floats(0, 10_000))
def test_a_looser_objective_never_shortens_the_drain(p99_ms: float, more: float) -> None:
    assert exit_timeout_s(10 * p99_ms, 2) <= exit_timeout_s(10 * (p99_ms + more), 2)
    assert math.isfinite(exit_timeout_s(10 * (p99_ms + more), 2))


def test_the_objective_is_what_is_read(digits: Plan) -> None:
    plan = replace(digits, objective=Objective(p99_ms=100))
    assert longest_request_ms(plan) == 45 + 1000
