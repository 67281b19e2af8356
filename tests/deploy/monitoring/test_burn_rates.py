"""Burn rates of errors and latency: the minute at which each alert fires, where it does not, and when it is over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chart_tools import BOTH, DIGITS, OLD, alerts_of, groups_of, merged, values_of
from made_series import PODS, World, between, constant
from promtool import run_rules

HOUR, DAY = 60, 24 * 60
LONG_M = 30  # between two moments of a story of days, which would take minutes with every one of them


def only(window: str) -> list[dict[str, Any]]:
    """The rules of digits without the burn rates of other windows: what was bad for long has exceeded those as well."""
    left_out = {"1h": ("6h", "3d", "30m"), "6h": ("1h", "3d", "5m"), "3d": ("1h", "30m", "5m")}[window]
    return [
        {**group, "rules": [rule for rule in group["rules"] if not _of_window(rule, left_out)]}
        for group in groups_of(values_of(DIGITS))
    ]


def _of_window(rule: dict[str, Any], windows: tuple[str, ...]) -> bool:
    return rule.get("labels", {}).get("window") in windows or rule.get("record", "").endswith(windows)


def burns(alert: str, window: str, severity: str = "critical") -> str:
    return f'{alert}{{pipeline="digits", window="{window}", severity="{severity}"}}'


ERRORS = {window: burns("TritonErrorBudgetBurn", window) for window in ("1h", "6h")}
SLOW = {window: burns("TritonLatencyBudgetBurn", window) for window in ("1h", "6h")}
CRAWLING = {kind: burns(f"Triton{kind}BudgetBurn", "3d", "warning") for kind in ("Error", "Latency")}


# Fast: 14.4 times the budget, in 1 h and 5 min ---------------------------------------------------------------


def test_five_percent_of_failures_fire_after_twenty_minutes(tmp_path: Path) -> None:
    # From minute 120 on 5 % fail. The last hour's share is 5 % x minutes / 60, more than 1.44 % after 17.3 minutes:
    # at minute 138 it is 1.5 %, and 2 minutes later the alert fires. When it is over at minute 150, the last 5 minutes
    # have 5 % x (5 - k) / 5, below 1.44 % after k = 4 minutes.
    world = World(200, failed=between(120, 150, 0.05))
    expected = {
        139: [],
        140: [ERRORS["1h"]],
        153: [ERRORS["1h"]],
        154: [],
        200: [],
    }
    run_rules(only("1h"), world.series(), tmp_path, firing=expected)


def test_a_third_of_slow_requests_fires_after_half_an_hour(tmp_path: Path) -> None:
    # Of the healthy 0.2 % and 30.2 % from minute 120 on: 0.2 + 30 x minutes / 60 is over 14.4 % after 28.4 minutes.
    # At its end, 0.2 + 30 x (5 - k) / 5 is below 14.4 % after k = 3 minutes.
    world = World(220, slow=between(120, 160, 0.302, 0.002))
    expected = {150: [], 151: [SLOW["1h"]], 162: [SLOW["1h"]], 163: [], 220: []}
    run_rules(only("1h"), world.series(), tmp_path, firing=expected)


@pytest.mark.parametrize(("share", "fires"), [(0.01435, False), (0.01445, True)])
def test_the_boundary_of_the_fast_window(tmp_path: Path, share: float, fires: bool) -> None:
    world = World(100, failed=constant(share))
    expected = {90: [ERRORS["1h"]] if fires else []}
    run_rules(only("1h"), world.series(), tmp_path, firing=expected)


# Middle: 6 times the budget, in 6 h and 30 min ---------------------------------------------------------------


def test_one_percent_of_failures_fires_in_hours(tmp_path: Path) -> None:
    # 1 % from minute 600 on: over 0.6 % of six hours after 216 minutes, so at the step of 820; 15 minutes more. When
    # it ends at 900, the last 30 minutes have 1 % x (30 - k) / 30, below 0.6 % after k = 12 minutes: at the step of 915.
    world = World(960, step_m=5, failed=between(600, 900, 0.01))
    expected = {830: [], 835: [ERRORS["6h"]], 910: [ERRORS["6h"]], 915: []}
    run_rules(only("6h"), world.series(), tmp_path, firing=expected, step_m=5)


# Slow: as much as the budget, in 3 days and 6 h --------------------------------------------------------------


@pytest.mark.parametrize(("share", "fires"), [(0.00099, False), (0.00101, True)])
def test_the_boundary_of_the_slow_window(tmp_path: Path, share: float, fires: bool) -> None:
    world = World(4 * DAY, step_m=LONG_M, failed=constant(share), slow=constant(10 * share))
    expected = sorted(CRAWLING.values()) if fires else []
    run_rules(only("3d"), world.series(), tmp_path, firing={4 * DAY: expected}, step_m=LONG_M)


def test_what_eats_the_budget_unseen_is_seen_within_a_day(tmp_path: Path) -> None:
    # 0.43 % from the fourth day on: over 0.1 % of three days after 16.74 hours, so at the step of 17; one more.
    world = World(4 * DAY, step_m=LONG_M, failed=between(3 * DAY, 4 * DAY, 0.0043))
    start = 3 * DAY + 17 * HOUR
    expected = {start + HOUR - LONG_M: [], start + HOUR: [CRAWLING["Error"]]}
    run_rules(only("3d"), world.series(), tmp_path, firing=expected, step_m=LONG_M)


# Nothing to say ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [BOTH, OLD], ids=["histograms", "means"])
@pytest.mark.parametrize(("minutes", "step_m"), [(2 * HOUR, 1), (4 * DAY, 60)])
def test_healthy_hours_and_days_are_silent(tmp_path: Path, values: dict[str, Any], minutes: int, step_m: int) -> None:
    world = World(minutes, step_m=step_m, failed=constant(0.0005), slow=constant(0.005))
    expected: dict[int, list[str]] = {minute: [] for minute in range(0, minutes + 1, max(15, step_m))}
    run_rules(groups_of(values), world.series(), tmp_path, firing=expected, step_m=step_m)


def test_three_requests_are_no_alert_whatever_becomes_of_them(tmp_path: Path) -> None:
    # One a pod at each of the minutes 120 to 122: all fail, and all that are answered would be slow.
    rps = between(120, 122, 1 / 60)
    world = World(200, rps=rps, failed=constant(1), slow=constant(1), depth=constant(0))
    expected: dict[int, list[str]] = {minute: [] for minute in range(118, 200, 2)}
    run_rules(groups_of(BOTH), world.series(), tmp_path, firing=expected)


def test_a_dozen_failures_are_one(tmp_path: Path) -> None:
    # From minute 120 on each pod fails all of its one request a minute: ten in all after 5 minutes, 2 minutes on.
    world = World(140, rps=between(120, 200, 1 / 60), failed=constant(1), depth=constant(0))
    expected = {120: [], 126: [], 127: [ERRORS["1h"]]}
    run_rules(only("1h"), world.series(), tmp_path, firing=expected)


def test_no_traffic_at_all_is_no_alert(tmp_path: Path) -> None:
    world = World(90, rps=constant(0), depth=constant(0))
    run_rules(groups_of(BOTH), world.series(), tmp_path, firing={30: [], 60: [], 90: []})


# Thresholds --------------------------------------------------------------------------------------------------


def test_a_budget_of_ten_percent_can_still_be_burnt() -> None:
    # 14.4 and 6 times 10 % are more than a request can fail: half the way to all of them is the most that is asked.
    values = values_of(merged(DIGITS, {"objective": {"maxErrorRate": 0.1}}))
    assert _thresholds(values) == {"1h": "0.55", "6h": "0.55", "3d": "0.1"}
    assert _thresholds(BOTH) == {"1h": "0.0144", "6h": "0.006", "3d": "0.001"}


def test_no_error_at_all_may_be_the_objective(tmp_path: Path) -> None:
    values = values_of(merged(DIGITS, {"objective": {"maxErrorRate": 0}}))
    assert set(_thresholds(values).values()) == {"0"}
    assert all(
        "None may fail." in a["annotations"]["description"]
        for a in alerts_of(values)
        if a["alert"] == "TritonErrorBudgetBurn"
    )
    run_rules(groups_of(values), World(60).series(), tmp_path, firing={60: []})


def _thresholds(values: dict[str, Any]) -> dict[str, str]:
    burning = [
        a for a in alerts_of(values) if a["alert"] == "TritonErrorBudgetBurn" and a["labels"]["pipeline"] == "digits"
    ]
    return {a["labels"]["window"]: a["expr"].split(" > ")[1].split()[0] for a in burning}


# A histogram that lacks the bound ----------------------------------------------------------------------------


def blind(pod: str) -> str:
    return f'TritonLatencyUnwatched{{pipeline="digits", pod="{pod}", severity="warning"}}'


def _without(world: World, drop: Callable[[str], bool]) -> dict[str, list[float | None]]:
    ours = "nv_inference_first_response_histogram_ms_bucket{"
    return {n: v for n, v in world.series().items() if not (n.startswith(ours) and drop(n))}


def test_a_bound_that_the_repository_lacks_is_told_of_each_pod(tmp_path: Path) -> None:
    # Every request is too slow, and nothing else could say so.
    series = _without(World(60, slow=constant(1)), lambda name: 'model="digits"' in name and 'le="20"' in name)
    expected = {10: [], 11: [blind(pod) for pod in PODS], 60: [blind(pod) for pod in PODS]}
    run_rules(groups_of(BOTH), series, tmp_path, firing=expected)


def test_one_pod_of_another_repository_is_named(tmp_path: Path) -> None:
    series = _without(
        World(60), lambda name: 'model="digits"' in name and 'le="20"' in name and f'pod="{PODS[1]}"' in name
    )
    run_rules(groups_of(BOTH), series, tmp_path, firing={10: [], 11: [blind(PODS[1])], 60: [blind(PODS[1])]})


def test_a_server_without_any_histogram_is_told_too(tmp_path: Path) -> None:
    series = _without(World(60), lambda name: 'model="digits"' in name)
    run_rules(groups_of(BOTH), series, tmp_path, firing={11: [blind(pod) for pod in PODS]})


def test_what_nobody_asks_is_not_missed(tmp_path: Path) -> None:
    series = _without(World(60, rps=constant(0), depth=constant(0)), lambda name: 'model="digits"' in name)
    run_rules(groups_of(BOTH), series, tmp_path, firing={11: [], 60: []})


# Means, where there is no histogram --------------------------------------------------------------------------

MEAN = 'TritonMeanLatencyHigh{pipeline="digits", severity="critical"}'


def test_a_mean_over_the_objective_fires_on_an_old_server(tmp_path: Path) -> None:
    # 6 ms, and 36 ms from minute 120 on: 6 + 30 x minutes / 30 is over 20 ms at minute 135; 2 minutes more. At its
    # end, 6 + 30 x (5 - k) / 5 is below 20 ms after k = 3.
    world = World(200, mean_ms=between(120, 160, 36, 6), slow=constant(0.5))
    expected = {136: [], 137: [MEAN], 162: [MEAN], 163: [], 200: []}
    run_rules(groups_of(OLD), world.series(), tmp_path, firing=expected)


def test_a_mean_just_below_it_does_not_and_says_that_it_is_blind(tmp_path: Path) -> None:
    world = World(90, mean_ms=constant(19.9), slow=constant(0.5))
    run_rules(groups_of(OLD), world.series(), tmp_path, firing={60: [], 90: []})
    [alert] = [
        a for a in alerts_of(OLD) if a["alert"] == "TritonMeanLatencyHigh" and a["labels"]["pipeline"] == "digits"
    ]
    said = alert["annotations"]["description"]
    assert "This is a mean and no percentile: Triton 25.12 has no latency histogram" in said
    assert "while the mean stays below 20 ms is not seen at all" in said


def test_a_few_requests_have_no_mean(tmp_path: Path) -> None:
    # 98 in half an hour, far too slow.
    world = World(90, rps=constant(49 / 1800), mean_ms=constant(500))
    run_rules(groups_of(OLD), world.series(), tmp_path, firing={60: [], 90: []})


@pytest.mark.parametrize(
    "values",
    [
        OLD,
        values_of(DIGITS, server={"histogramLatencies": False}),
        values_of(merged(DIGITS, {"latencyBucketsMs": []})),
    ],
    ids=["older than 26.01", "turned off", "no buckets"],
)
def test_either_percentile_or_mean(values: dict[str, Any]) -> None:
    names = {alert["alert"] for alert in alerts_of(values)}
    assert "TritonMeanLatencyHigh" in names
    assert "TritonLatencyBudgetBurn" not in names
    assert "TritonLatencyUnwatched" not in names
    assert {"TritonMeanLatencyHigh", "TritonLatencyBudgetBurn"} & {a["alert"] for a in alerts_of(BOTH)} == {
        "TritonLatencyBudgetBurn"
    }
