"""A rolling restart of what the chart renders, on processes: under load it loses no request, and without a drain it does.

The long run, and more ways to get it wrong, are in benchmarks/reliability.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from reliability_systems.experiment import Drain, Stage, direct, staged, through_proxy
from reliability_systems.load import Traffic

pytestmark = [pytest.mark.server, pytest.mark.cluster, pytest.mark.timeout(600)]

SEED = 7
LOAD = Traffic(rate_rps=25.0, duration_s=240.0, seed=SEED)  # over each protocol; it ends with the rollout
MUCH = replace(LOAD, rate_rps=70.0)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """The chart rendered for specs/digits.yaml and a proxy, which moves by itself; and a repository."""
    with staged(connection_age_ms=0) as found:
        yield found


@pytest.fixture(scope="module")
def stage_without_a_proxy() -> Iterator[Stage]:
    """The same with the chart's own age of gRPC connections."""
    with staged() as found:
        yield found


def lost(run: dict[str, Any]) -> dict[str, int]:
    """How many requests, by protocol."""
    return {protocol: of["lost"] for protocol, of in run["protocols"].items()}


def gone(run: dict[str, Any]) -> list[dict[str, Any]]:
    """How each pod ended."""
    return [event for event in run["events"] if event["what"] == "pod is gone"]


@pytest.mark.parametrize("reuse", [True, False], ids=["kept connections", "a connection a request"])
def test_the_charts_own_drain_loses_nothing(stage: Stage, reuse: bool) -> None:
    run = through_proxy(stage, "", Drain(reuse=reuse), MUCH)
    assert sum(of["requests"] for of in run["protocols"].values()) >= 4000
    assert lost(run) == {"http": 0, "grpc": 0}, run
    assert [(event["status"], event["killed"]) for event in gone(run)] == [(0, False)] * 2, "each ended by itself"


def test_without_a_drain_requests_are_lost(stage: Stage) -> None:
    run = through_proxy(stage, "", Drain(grace_s=0), LOAD)
    assert [event["killed"] for event in gone(run)] == [True] * 2
    assert min(lost(run).values()) > 0, "the experiment sees what is lost"


def test_without_a_pause_before_the_end_requests_are_lost(stage: Stage) -> None:
    run = through_proxy(stage, "", Drain(pre_stop_s=0, reuse=False), LOAD)
    assert sum(lost(run).values()) > 0


def test_clients_that_balance_by_themselves_leave_a_pod_in_time(stage_without_a_proxy: Stage) -> None:
    run = direct(stage_without_a_proxy, "", replace(LOAD, rate_rps=15.0))
    assert run["calls"]["lost"] == 0, run
    assert run["calls"]["sent_again"] == 0, "nothing had to be tried again"
    assert min(run["answered_by_the_new_pods"]) > 0, "they moved to the new pods"
