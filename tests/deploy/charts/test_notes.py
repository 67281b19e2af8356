"""The notes: what is allowed and should be known, and how the release is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import triton_chart as chart

from deploy.operations import releases

DIGITS = {"name": "digits", "objective": {"p99Ms": 20, "maxErrorRate": 0.001}, "models": ["digits"]}
KEDA = {"enabled": True, "serverAddress": "http://prometheus.monitoring:9090"}
CLAIM = {"modelRepository": {"source": "persistentVolumeClaim", "persistentVolumeClaim": {"claimName": "m"}}}


def test_the_bounds_of_what_is_refused_and_warned_of(tmp_path: Path) -> None:
    assert releases.REFUSED_BEFORE == "25.07"
    assert "--http-port" in chart.text({"image": {"release": "24.10", "allowVulnerable": True}})
    for release in ("25.07", "26.04", "26.06"):
        said = chart.notes({"image": {"release": release}}, tmp_path)
        holes = ", ".join(sorted(hole.cve for hole in releases.holes_of(release)))
        assert f"WARNING: Triton {release} has known holes ({holes}): take 26.07 or later." in said
    assert "WARNING" not in chart.notes({"image": {"release": releases.SOUND}}, tmp_path)


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({"restrictedApis": {"enabled": False}}, "No API is restricted"),
        ({"networkPolicy": {"enabled": False}}, "There is no NetworkPolicy"),
        ({"service": {"http": {"type": "LoadBalancer"}}}, "Clients come from outside"),
        (
            {"podDisruptionBudget": {"minAvailable": 2}},
            "podDisruptionBudget.minAvailable 2 of 2 pods lets no node be",
        ),
        (
            {"podDisruptionBudget": {"minAvailable": "100%"}},
            "podDisruptionBudget.minAvailable 100% of 2 pods lets no",
        ),
        ({"podDisruptionBudget": {"maxUnavailable": 0}}, "podDisruptionBudget.maxUnavailable 0 lets no node be"),
        ({"podDisruptionBudget": {"maxUnavailable": "0%"}}, "podDisruptionBudget.maxUnavailable 0% lets no node be"),
        (
            {"restrictedApis": {"apis": ["inference"]}},
            "restrictedApis.apis takes the place of the chart's list, and shared-memory, model-repository, trace, "
            "logging are not in it: whoever reaches a port may use them without a key.",
        ),
        (
            {"restrictedApis": {"apis": ["shared-memory", "model-repository", "logging"]}},
            "and trace is not in it: whoever reaches a port may use it without a key.",
        ),
        (CLAIM, "in the root of a claim"),
        ({"image": {"release": "25.06", "allowVulnerable": True}}, "has no limit for HTTP bodies"),
        (
            {"drain": {"preStopSeconds": 0}, "server": {"grpcMaxConnectionAgeMs": 0}},
            "drain.preStopSeconds is 0, and Triton says that it is ready until nobody listens any more",
        ),
        ({"image": {"release": "26.03"}}, "says that it is ready when the process of a Python model has died"),
    ],
)
def test_what_is_allowed_and_should_be_known_is_in_the_notes(
    values: dict[str, Any], warning: str, tmp_path: Path
) -> None:
    assert sum(warning in line for line in warnings_of(values, tmp_path)) == 1


@pytest.mark.parametrize(
    "reader",
    [
        {"metrics": {"podMonitor": {"enabled": True}}},
        {"metrics": {"serviceMonitor": {"enabled": True}}},
        {"metrics": {"prometheusRule": {"enabled": True}}},
        {"autoscaling": {"hpa": {"enabled": True}}},
        {"autoscaling": {"keda": KEDA}},
    ],
    ids=["PodMonitor", "ServiceMonitor", "rules", "HPA", "KEDA"],
)
def test_whoever_needs_the_metrics_is_told_who_may_read_them(reader: dict[str, Any], tmp_path: Path) -> None:
    values = {"pipelines": [DIGITS], **reader}
    [said] = warnings_of(values, tmp_path)
    assert "networkPolicy.metricsFrom lets in pods of this namespace alone" in said
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert warnings_of({**values, "networkPolicy": {"metricsFrom": [monitoring]}}, tmp_path) == []


def warnings_of(values: dict[str, Any], folder: Path) -> list[str]:
    """The warnings of the notes."""
    return [line for line in chart.notes(values, folder).splitlines() if line.startswith("WARNING: ")]


def test_a_key_that_the_chart_makes_is_said_to_come_back_at_a_rollback(tmp_path: Path) -> None:
    said = "a rollback writes back the key that its revision had"
    assert said in chart.notes({}, tmp_path)
    assert said not in chart.notes(chart.KEPT_KEY, tmp_path)


def test_the_notes_say_how_to_reach_it_and_nothing_else_where_nothing_is_wrong(tmp_path: Path) -> None:
    said = chart.notes({"pipelines": [DIGITS], **chart.KEPT_KEY}, tmp_path)
    assert said.splitlines() == [
        "demo-triton serves digits with Triton 26.07.",
        "",
        "  HTTP     http://demo-triton.vision:8000",
        "  gRPC     dns:///demo-triton-grpc.vision:8001 (load-balancing policy round_robin)",
        "  metrics  http://demo-triton-metrics.vision:8002/metrics",
        "",
        "A pod that goes still answers for 10 s, then its server ends what it has begun within 30 s; after 45 s it is "
        "killed.",
        "",
        "shared-memory, model-config, model-repository, statistics, trace, logging need a key: HTTP header "
        "tritonkit-key, over gRPC triton-grpc-protocol-tritonkit-key.",
        "It is `key` of the Secret kept. A changed key counts after `kubectl rollout restart`.",
    ]
