"""Alerts on queues, throughput, models, pods, GPUs, engines, the autoscaler and the metrics: when they fire and when not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chart_tools import BOTH, DIGITS, NAME, NAMESPACE, PHOTOS, RELEASE, alerts_of, groups_of, values_of
from made_series import PODS, World, between, constant
from promtool import run_rules

FIRST, SECOND = PODS
QUEUE = 'TritonQueueNotDraining{pipeline="digits", severity="warning"}'
SHORT = 'TritonThroughputBelowPromise{pipeline="digits", severity="warning"}'
NOTHING = 'TritonNothingServes{severity="critical"}'
NOT_READY = 'TritonPodsNotReady{severity="warning"}'
RESTARTS = f'TritonRestarts{{pod="{FIRST}", severity="warning"}}'
NO_METRICS = 'TritonNoMetrics{severity="warning"}'
GPU = f'TritonGpuMemoryHigh{{pod="{FIRST}", gpu_uuid="GPU-{FIRST[-5:]}", severity="warning"}}'
OLD_ENGINE = 'TritonEngineOld{severity="warning"}'
AT_MAX = 'TritonAutoscalerAtMax{severity="warning"}'


def stuck(pod: str) -> str:
    return f'TritonModelStuck{{pipeline="digits", pod="{pod}", model="digits_engine", severity="critical"}}'


# Each case: what goes on, the values, and all that fires by minute. A change at minute n is seen at minute n.
CASES: dict[str, tuple[World, dict[str, Any], dict[int, list[str]]]] = {
    "a queue over twice the depth that meets the objective, for ten minutes": (
        World(60, rps=constant(200), depth=between(20, 40, 17, 2)),
        BOTH,
        {29: [], 30: [QUEUE], 39: [QUEUE], 40: []},
    ),
    "a queue of just twice the depth": (World(60, rps=constant(200), depth=constant(16)), BOTH, {30: [], 60: []}),
    "a queue that drains in between": (
        World(60, rps=constant(200), depth=lambda minute: 0 if minute % 9 == 0 else 100),
        BOTH,
        {minute: [] for minute in range(0, 61, 3)},
    ),
    "a deep queue in one pod of two counts by the mean": (
        World(60, rps=constant(200), depth=constant(0), first_depth=constant(33)),
        BOTH,
        {9: [], 10: [QUEUE]},
    ),
    "fewer answers than promised while requests wait": (
        # 300 a second were promised and two pods answer 280; below that depth of 16 it is the only one.
        World(60, rps=constant(140), depth=between(20, 40, 12, 2)),
        BOTH,
        {29: [], 30: [SHORT], 39: [SHORT], 40: []},
    ),
    "fewer answers than promised because nobody asks": (World(60, rps=constant(1)), BOTH, {30: [], 60: []}),
    "a model that answers nothing": (
        # All that it does stops at minute 20; the rate of two minutes is 0 from minute 22 on, and five minutes later.
        World(40, rps=between(0, 20, 200), depth=constant(0), first_depth=between(0, 35, 3, 0)),
        values_of(DIGITS),
        {26: [], 27: [stuck(FIRST)], 34: [stuck(FIRST)], 35: []},
    ),
    "a pod without one of the models": (
        World(40, unloaded=between(20, 30, 1)),
        BOTH,
        # Prometheus looks back five minutes: the series is gone at minute 25.
        {29: [], 35: []},
    ),
    "no pod answers": (
        World(60, up=between(20, 30, 0, 1), ready=constant(2)),
        BOTH,
        {21: [], 22: [NOTHING], 29: [NOTHING], 30: []},
    ),
    "one pod does not answer": (World(60, first_up=between(20, 60, 0, 1)), BOTH, {22: [], 30: [], 31: [NOT_READY]}),
    "a pod is not ready after its time to start": (
        World(60, ready=between(20, 40, 1, 2)),
        BOTH,
        {30: [], 31: [NOT_READY], 39: [NOT_READY], 40: []},
    ),
    "a pod that takes its time to start": (World(60, ready=between(20, 30, 1, 2)), BOTH, {25: [], 30: [], 35: []}),
    "three restarts within an hour": (
        World(120, restarts=lambda minute: min(3, max(0, (minute - 10) // 10))),
        BOTH,
        {39: [], 41: [RESTARTS], 120: []},
    ),
    "two restarts": (World(120, restarts=lambda minute: min(2, minute // 10)), BOTH, {30: [], 60: []}),
    "no targets": (World(60, scraped=False), BOTH, {14: [], 15: [NO_METRICS], 60: [NO_METRICS]}),
    "a GPU almost full": (
        World(60, gpu=between(20, 40, 0.96, 0.9)),
        BOTH,
        {29: [], 30: [GPU], 39: [GPU], 40: []},
    ),
    "a GPU as full as allowed": (World(60, gpu=constant(0.95)), BOTH, {30: [], 60: []}),
    "engines of ninety days": (
        # The oldest pod is 90 days old at minute 60, and is so for an hour at minute 121.
        World(180, age_days=90 - 60 / 1440),
        values_of(DIGITS, alerts={"engineMaxAgeDays": 90}),
        {120: [], 121: [OLD_ENGINE]},
    ),
    "engines of a day": (World(60), values_of(DIGITS, alerts={"engineMaxAgeDays": 90}), {60: []}),
    "all the pods there may be, and a queue": (
        World(60, rps=constant(200), replicas=constant(10), depth=constant(12)),
        values_of(DIGITS, autoscaling={"hpa": {"enabled": True}}),
        {14: [], 15: [AT_MAX]},
    ),
    "all the pods there may be, and they keep up": (
        World(60, rps=constant(200), replicas=constant(10)),
        values_of(DIGITS, autoscaling={"hpa": {"enabled": True}}),
        {20: [], 60: []},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_when_it_fires(case: str, tmp_path: Path) -> None:
    world, values, firing = CASES[case]
    run_rules(groups_of(values), world.series(), tmp_path, firing=firing)


@pytest.mark.parametrize("value", [0, None], ids=["no pod answers", "no pod is there"])
def test_it_says_that_nothing_serves_until_something_does(value: float | None, tmp_path: Path) -> None:
    def up(minute: int) -> float | None:
        return value if 20 <= minute < 1500 else 1

    # An hour and a day later nobody has mended it. Only once no pod is there do the metrics go as well.
    alone = [NOTHING, NOT_READY] if value == 0 else [NOTHING, NO_METRICS]
    world = World(1510, step_m=5, up=up, rps=constant(0))
    firing = {15: [], 90: alone, 20 + 24 * 60: alone, 1495: alone, 1505: []}
    run_rules(groups_of(BOTH), world.series(), tmp_path, firing=firing, step_m=5)


def test_what_never_served_is_not_said_to_serve_no_more(tmp_path: Path) -> None:
    # The models load for half an hour, at the first installation.
    world = World(60, up=between(0, 30, 0, 1))
    run_rules(groups_of(BOTH), world.series(), tmp_path, firing={5: [], 29: [NOT_READY], 35: []})


def test_a_pod_without_a_model_is_named_with_it(tmp_path: Path) -> None:
    missing = (
        f'TritonModelMissing{{pipeline="digits", pod="{SECOND}", model="digits_postprocess", severity="critical"}}'
    )
    world = World(60, unloaded=between(20, 50, 1))
    # Prometheus looks back five minutes for a sample: to minute 24 there is one. Five minutes later it fires.
    run_rules(groups_of(BOTH), world.series(), tmp_path, firing={28: [], 30: [missing], 49: [missing], 50: []})


def test_one_machine_without_kubernetes_is_watched_by_what_it_scrapes(tmp_path: Path) -> None:
    # As with docker compose: no kube-state-metrics. The first server is down for good, and the second restarts thrice.
    resets = {
        name: [value if value is None else value % 12_000 * 1.0 for value in values]
        for name, values in World(60).series().items()
        if name.startswith("nv_inference_request_success") and SECOND in name and 'model="digits"' in name
    }
    world = World(60, first_up=between(5, 60, 0, 1), kubernetes=False, more=resets)
    again = f'TritonRestarts{{pod="{SECOND}", severity="warning"}}'
    run_rules(groups_of(BOTH), world.series(), tmp_path, firing={4: [], 16: [NOT_READY, again]})


def test_what_is_watched_follows_from_the_values() -> None:
    def names(values: dict[str, Any]) -> set[str]:
        return {alert["alert"] for alert in alerts_of(values)}

    always = names(BOTH)
    assert names(values_of(DIGITS, PHOTOS, gpu={"count": 0})) == always - {"TritonGpuMemoryHigh"}
    assert names(values_of(PHOTOS)) == always - {"TritonThroughputBelowPromise"}
    assert names(values_of(DIGITS, alerts={"engineMaxAgeDays": 1})) == always | {"TritonEngineOld"}
    for scaler in (
        {"hpa": {"enabled": True}},
        {"keda": {"enabled": True, "serverAddress": "http://prometheus:9090"}},
    ):
        assert names(values_of(DIGITS, autoscaling=scaler)) == always | {"TritonAutoscalerAtMax"}


def test_a_statefulset_is_watched_by_its_own_series() -> None:
    values = values_of(DIGITS, workload={"kind": "StatefulSet"})
    by_name = {alert["alert"]: alert["expr"] for alert in alerts_of(values)}
    assert (
        f'kube_statefulset_replicas{{namespace="{NAMESPACE}",statefulset="{NAME}"}}' in by_name["TritonPodsNotReady"]
    )
    assert f'pod=~"{NAME}-[0-9]+"' in by_name["TritonRestarts"]


def test_long_requests_are_not_taken_for_a_stuck_model() -> None:
    slow = {**DIGITS, "longestRequestSeconds": 400}
    values = values_of(slow, drain={"exitTimeoutSeconds": 400}, server={"grpcMaxConnectionAgeGraceMs": 400_000})
    [alert] = [alert for alert in alerts_of(values) if alert["alert"] == "TritonModelStuck"]
    assert alert["for"] == "800s"


def test_series_of_another_release_are_none_of_ours(tmp_path: Path) -> None:
    strange = {
        name.replace(f'release="{RELEASE}"', 'release="other"'): values
        for name, values in World(60, gpu=constant(0.99), depth=constant(99)).series().items()
        if "kube_" not in name
    }
    run_rules(groups_of(BOTH), World(60, more=strange).series(), tmp_path, firing={30: [], 60: []})
