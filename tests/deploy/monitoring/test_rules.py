"""The rules as a whole: promtool takes them, people can read the alerts, and each has its page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_tools import (
    BOTH,
    CHART,
    CLONE,
    DIGITS,
    NAMESPACE,
    OLD,
    PHOTOS,
    RELEASE,
    alerts_of,
    groups_of,
    manifests,
    merged,
    refusal,
    values_of,
)
from made_series import PODS, World, between, constant
from promtool import check_rules, run_rules

RUNBOOKS = CLONE / "docs" / "runbooks"
EVERYTHING = values_of(
    DIGITS,
    PHOTOS,
    alerts={"engineMaxAgeDays": 30},
    autoscaling={"hpa": {"enabled": True}},
    workload={"kind": "StatefulSet"},
)
ODD = values_of(merged(DIGITS, {"name": "a.b-c_d", "models": ["a.b-c_d", "x+y"], "queueModels": ["x+y"]}))
ALL = {
    "two pipelines": BOTH,
    "an old release": OLD,
    "everything": EVERYTHING,
    "odd names": ODD,
    "one": values_of(PHOTOS),
}
CI = sorted((CHART / "ci").glob("*-values.yaml"))


@pytest.mark.parametrize("case", ALL)
def test_promtool_takes_them(case: str, tmp_path: Path) -> None:
    assert check_rules(groups_of(ALL[case]), tmp_path) == ""


@pytest.mark.parametrize("file", CI, ids=lambda file: file.name)
def test_promtool_takes_those_of_the_charts_own_values(file: Path, tmp_path: Path) -> None:
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    values.setdefault("pipelines", [PHOTOS])
    groups = groups_of(merged(values, {"metrics": {"prometheusRule": {"enabled": True}}}))
    assert check_rules(groups, tmp_path) == ""


@pytest.mark.parametrize("case", ALL)
def test_every_alert_says_what_how_bad_and_where_to_read_on(case: str) -> None:
    for alert in alerts_of(ALL[case]):
        words = alert["annotations"]
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert (alert["labels"]["namespace"], alert["labels"]["release"]) == (NAMESPACE, RELEASE)
        assert words.keys() == {"summary", "description", "runbook_url"}
        assert words["description"].endswith(".")
        assert not words["summary"].endswith(".")
        assert words["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"
        assert "%!" not in words["description"] + words["summary"], "a text was given the wrong arguments"


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    alerts = {alert["alert"] for values in ALL.values() for alert in alerts_of(values)}
    pages = {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == alerts
    for page in pages:
        text = (RUNBOOKS / f"{page}.md").read_text(encoding="utf-8")
        assert re.findall(r"^#+ .*", text, re.MULTILINE) == [
            f"# {page}",
            "## What it means",
            "## What to look at",
            "## What to do",
        ]


def test_the_index_names_each_with_its_severity() -> None:
    rows = re.findall(
        r"^\| \[(\w+)\]\((\w+)\.md\) \| (critical|warning)",
        (RUNBOOKS / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert [name for name, page, _ in rows] == [page for name, page, _ in rows]
    said = {(name, severity) for name, _, severity in rows}
    there = {
        (a["alert"], a["labels"]["severity"])
        for v in ALL.values()
        for a in alerts_of(v)
        if a["labels"].get("window") != "3d"
    }
    assert said == there


def test_pages_elsewhere_are_linked_where_they_are() -> None:
    values = values_of(DIGITS, metrics={"prometheusRule": {"runbookUrl": "https://wiki.example/runbooks/"}})
    assert (
        alerts_of(values)[0]["annotations"]["runbook_url"] == "https://wiki.example/runbooks/TritonNothingServes.md"
    )


def test_what_a_pager_shows(tmp_path: Path) -> None:
    world = World(140, failed=between(120, 150, 0.05))
    text = {
        "summary": "digits fails for too many requests",
        "description": "1.667% of the requests to digits failed in the last 1h, more than 1.44 %, and so it is in the last 5m. "
        "At most 0.1 % may fail: at this pace what is allowed in 30 days is gone within 2.1 days.",
        "runbook_url": "docs/runbooks/TritonErrorBudgetBurn.md",
    }
    labels = {
        "severity": "critical",
        "namespace": NAMESPACE,
        "release": RELEASE,
        "pipeline": "digits",
        "window": "1h",
    }
    shown = {
        "alertname": "TritonErrorBudgetBurn",
        "eval_time": "140m",
        "exp_alerts": [{"exp_labels": labels, "exp_annotations": text}],
    }
    groups = [
        {**group, "rules": [r for r in group["rules"] if r.get("labels", {}).get("window") in {None, "1h"}]}
        for group in groups_of(BOTH)
    ]
    run_rules(groups, world.series(), tmp_path, alerts=[shown])


def test_a_pod_and_a_model_are_named(tmp_path: Path) -> None:
    world = World(30, rps=between(0, 10, 200), depth=constant(0), first_depth=constant(3))
    labels = {
        "severity": "critical",
        "namespace": NAMESPACE,
        "release": RELEASE,
        "pipeline": "digits",
        "pod": PODS[0],
        "model": "digits_engine",
    }
    text = {
        "summary": "A model of digits answers nothing while requests wait",
        "description": f"3 requests wait for digits_engine in pod {PODS[0]}, and for 300 s it has neither answered nor refused one. "
        "The longest request of digits should take 16 s.",
        "runbook_url": "docs/runbooks/TritonModelStuck.md",
    }
    shown = {
        "alertname": "TritonModelStuck",
        "eval_time": "20m",
        "exp_alerts": [{"exp_labels": labels, "exp_annotations": text}],
    }
    run_rules(groups_of(values_of(DIGITS)), world.series(), tmp_path, alerts=[shown])


# The histogram's bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p99_ms", "buckets", "matched"),
    [
        (20, [5, 10, 20, 40], 'le=~"20(\\\\.0)?"'),
        (12.5, [6, 12.5, 25], 'le=~"12\\\\.5"'),
        (12.5, [6, 12, 25], 'le=~"12(\\\\.0)?"'),  # whole milliseconds, rounded down: 12.9 counts as 12
    ],
)
def test_the_bound_is_the_one_at_the_objective(p99_ms: float, buckets: list[float], matched: str) -> None:
    values = values_of(merged(DIGITS, {"objective": {"p99Ms": p99_ms}, "latencyBucketsMs": buckets}))
    slow = [
        rule["expr"]
        for group in groups_of(values)
        for rule in group["rules"]
        if rule.get("record", "").startswith("triton:slow")
    ]
    assert len(slow) == 5
    assert all(matched in expression for expression in slow)


@pytest.mark.parametrize("bound", ["20", "20.0"])
def test_both_writings_of_a_bound_are_found(tmp_path: Path, bound: str) -> None:
    series = {
        name.replace('le="20"', f'le="{bound}"'): values
        for name, values in World(30, slow=constant(0.25)).series().items()
    }
    queries = {
        'triton:slow_requests:ratio_rate5m{pipeline="digits"}': {
            f'triton:slow_requests:ratio_rate5m{{namespace="{NAMESPACE}", release="{RELEASE}", pipeline="digits"}}': 0.25
        }
    }
    run_rules(groups_of(BOTH), series, tmp_path, queries={30: queries})


# What cannot be ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"pipelines": [merged(DIGITS, {"latencyBucketsMs": [5, 10, 40]})]}, "latencyBucketsMs of pipeline digits (5, 10, 40) have no bound at its objective's p99Ms 20"),
        ({"pipelines": []}, "metrics.prometheusRule is enabled, and there are no pipelines"),
        ({"pipelines": [DIGITS, DIGITS]}, "pipelines has digits twice"),
        ({"metrics": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}}, "both enabled: every pod would be scraped twice"),
        ({"metrics": {"serviceMonitor": {"enabled": True}}, "service": {"metrics": {"enabled": False}}}, "set service.metrics.enabled to true"),
    ],
)  # fmt: skip
def test_it_is_said_before_anything_is_sent(more: dict[str, Any], said: str) -> None:
    assert said in refusal(merged(BOTH, more))


def test_labels_of_the_operator_are_put_on() -> None:
    values = values_of(DIGITS, metrics={"prometheusRule": {"labels": {"release": "prometheus"}}})
    [rule] = manifests(values, "PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "prometheus"
