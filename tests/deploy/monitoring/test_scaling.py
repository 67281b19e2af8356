"""Both autoscalers read the same number, and the documented rule of the adapter makes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from chart_tools import CLONE, DIGITS, NAME, NAMESPACE, PHOTOS, RELEASE, groups_of, manifests, refusal, values_of
from made_series import PODS, World, constant
from promtool import check_queries, run_rules

PAGE = CLONE / "docs" / "how-to" / "autoscale.md"
HPA = values_of(DIGITS, PHOTOS, autoscaling={"hpa": {"enabled": True}, "queueDepthPerPod": 6})
KEDA = values_of(
    DIGITS,
    PHOTOS,
    autoscaling={"keda": {"enabled": True, "serverAddress": "http://prometheus:9090"}, "queueDepthPerPod": 6},
)


def test_the_adapters_rule_makes_the_autoscalers_metric(tmp_path: Path) -> None:
    [rule] = _adapter()["rules"]["custom"]
    [hpa] = manifests(HPA, "HorizontalPodAutoscaler")
    [metric] = hpa["spec"]["metrics"]
    assert rule["name"]["as"] == metric["pods"]["metric"]["name"] == "triton_queue_depth"
    assert {label: of["resource"] for label, of in rule["resources"]["overrides"].items()} == {
        "namespace": "namespace",
        "pod": "pod",
    }
    series = rule["seriesQuery"].partition("{")[0]
    # As the adapter fills it in when the HPA asks for its pods.
    query = rule["metricsQuery"].replace("<<.Series>>", series).replace("<<.GroupBy>>", "pod")
    query = query.replace("<<.LabelMatchers>>", f'namespace="{NAMESPACE}",pod=~"{"|".join(PODS)}"')
    assert check_queries([query, rule["seriesQuery"]], tmp_path) == ""
    world = World(10, depth=constant(3), first_depth=constant(9))
    depths = {f'{{pod="{PODS[0]}"}}': 9.0, f'{{pod="{PODS[1]}"}}': 3.0}
    run_rules(groups_of(HPA), world.series(), tmp_path, queries={10: {query: depths}})


def test_keda_asks_prometheus_for_the_same_number(tmp_path: Path) -> None:
    [scaled] = manifests(KEDA, "ScaledObject")
    [trigger] = scaled["spec"]["triggers"]
    assert trigger["metadata"]["threshold"] == "6"
    assert trigger["metricType"] == "AverageValue", "KEDA divides by the number of pods"
    assert trigger["metadata"]["ignoreNullValues"] == "false", "without metrics no pod is taken away"
    [hpa] = manifests(HPA, "HorizontalPodAutoscaler")
    assert hpa["spec"]["metrics"][0]["pods"]["target"] == {"type": "AverageValue", "averageValue": "6"}
    world = World(10, depth=constant(3), first_depth=constant(9))
    both = {trigger["metadata"]["query"]: {"{}": 12.0}, "sum(triton:queue_depth:sum)": {"{}": 12.0}}
    run_rules(groups_of(KEDA), world.series(), tmp_path, queries={10: both})


def test_one_scrape_of_a_burst_is_no_reason_to_scale(tmp_path: Path) -> None:
    # Of the two scrapes of the last minute one saw 40, and the next none.
    burst = {
        f'nv_inference_pending_request_count{{namespace="{NAMESPACE}",release="{RELEASE}",pod="p",model="digits_engine"}}': [
            0,
            40,
            0,
            0,
            40,
            0,
        ]
    }
    depth = {f'triton:queue_depth:sum{{namespace="{NAMESPACE}", release="{RELEASE}", pod="p"}}': 20.0}
    run_rules(groups_of(HPA), burst, tmp_path, queries={5: {"triton:queue_depth:sum": depth}})


def test_down_is_slower_than_up_in_both() -> None:
    [hpa] = manifests(HPA, "HorizontalPodAutoscaler")
    [scaled] = manifests(KEDA, "ScaledObject")
    behaviour = hpa["spec"]["behavior"]
    assert scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == behaviour
    up, down = behaviour["scaleUp"], behaviour["scaleDown"]
    assert down["stabilizationWindowSeconds"] > up["stabilizationWindowSeconds"]
    assert _percent_a_minute(down) < _percent_a_minute(up)
    assert (
        hpa["spec"]["scaleTargetRef"]
        == scaled["spec"]["scaleTargetRef"]
        == {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    )


def _percent_a_minute(side: dict[str, Any]) -> float:
    return max(p["value"] * 60 / p["periodSeconds"] for p in side["policies"] if p["type"] == "Percent")


def test_two_autoscalers_and_one_that_knows_no_prometheus_are_refused() -> None:
    assert "autoscaling.hpa and autoscaling.keda are both enabled" in refusal(
        values_of(
            DIGITS,
            autoscaling={"hpa": {"enabled": True}, "keda": {"enabled": True, "serverAddress": "http://p:9090"}},
        )
    )
    assert "does not know where Prometheus is" in refusal(values_of(DIGITS, autoscaling={"keda": {"enabled": True}}))


def _adapter() -> Any:
    """The one block of YAML on the page that is for the adapter."""
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    [found] = [block for block in map(yaml.safe_load, blocks) if "rules" in block]
    return found
