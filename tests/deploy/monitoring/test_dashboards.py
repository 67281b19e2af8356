"""The dashboards: their form, their layout, and that every query draws something on made series."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from chart_tools import BOTH, DIGITS, groups_of, manifests, refusal, values_of
from dashboard_tools import FILES, asked, choices, dashboard, drawn, queries
from made_series import World, constant
from promtool import check_queries, run_rules

each = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
WIDTH = 24


@each
def test_no_panel_lies_over_another_and_none_sticks_out(file: Path) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard(file)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= WIDTH, panel["title"]
        for cell in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        ):
            assert cell not in taken, f"{panel['title']} lies over {taken[cell]}"
            taken[cell] = panel["title"]
    height = max(y for _, y in taken) + 1
    assert len(taken) == WIDTH * height, "there is no hole either"


@each
def test_it_is_one_that_grafana_takes(file: Path) -> None:
    whole = dashboard(file)
    assert whole["schemaVersion"] == 41
    assert whole["id"] is None, "Grafana gives the number"
    panels = whole["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in drawn(file):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert [t["refId"] for t in panel["targets"]] == list("ABCDEFGH")[: len(panel["targets"])]
        _overrides_name_a_query(panel)


def _overrides_name_a_query(panel: dict[str, Any]) -> None:
    legends = {target["legendFormat"] for target in panel["targets"]}
    for override in panel["fieldConfig"]["overrides"]:
        assert override["matcher"]["options"] in legends, panel["title"]


@each
def test_every_variable_is_there_and_used(file: Path) -> None:
    whole = dashboard(file)
    offered = {variable["name"] for variable in whole["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", file.read_text(encoding="utf-8"))) - {"__rate_interval"}
    assert offered == used == {"datasource", "namespace", "release", "pipeline"}


def test_every_query_parses_and_picks_one_release(tmp_path: Path) -> None:
    found = list(queries())
    assert len(found) > 30
    assert check_queries([query for _, _, query in found], tmp_path) == ""
    for panel, _, query in found:
        selectors = re.findall(r"\{[^}]*\}", query)
        assert selectors, panel
        for selector in selectors:
            assert 'namespace="prod",release="demo"' in selector, f"{panel}: {query}"


def test_every_query_draws_something_on_made_series(tmp_path: Path) -> None:
    failing = World(60, failed=constant(0.02), slow=constant(0.05))
    gpu = {
        name.replace("memory_used_bytes", "utilization"): [0.5] * 61
        for name in failing.series()
        if "gpu_memory_used" in name
    }
    made = World(60, failed=failing.failed, slow=failing.slow, more={**gpu, **_stages(failing)})
    counted = {f"count({query}) > bool 0": {"{}": 1.0} for _, _, query in queries()}
    run_rules(groups_of(BOTH), made.series(), tmp_path, queries={60: counted})


def test_what_is_drawn_is_what_was_made(tmp_path: Path) -> None:
    by_legend = {(panel, legend): query for panel, legend, query in queries()}
    world = World(60, failed=constant(0.02), slow=constant(0.05), depth=constant(7))
    # 2 % of 200 requests a second fail, and an ensemble counts each of them twice; the rest takes 6 ms.
    own = '{namespace="prod", release="demo", pipeline="digits"}'
    expected = {
        by_legend["Percentiles", "mean"]: {"{}": 6.0},
        by_legend["Percentiles", "objective (p99)"]: {f"triton:objective_p99_ms:constant{own}": 20.0},
        by_legend["Requests", ""]: {f"triton:requests:rate5m{own}": 200.0},
        by_legend["Failed", ""]: {f"triton:failed_requests:ratio_rate5m{own}": 0.02},
        f"round({by_legend['Too slow', '']}, 0.0001)": {own: 0.05},
        by_legend["Queue depth", "mean of $pipeline"]: {f"triton:queue_depth_per_pod:avg{own}": 7.0},
        by_legend["Pods", "known"]: {"{}": 2.0},
    }
    run_rules(groups_of(BOTH), world.series(), tmp_path, queries={60: expected})


def _stages(world: World) -> dict[str, list[float | None]]:
    """What the tests of alerts do not need: the parts of a request's time, and batches."""
    parts = [f"{stage}_duration_us" for stage in ("queue", "compute_input", "compute_infer", "compute_output")]
    requests = {
        name: values for name, values in world.series().items() if name.startswith("nv_inference_request_success")
    }
    return {
        name.replace("request_success", part): [2 * (value or 0) for value in values]
        for part in (*parts, "count", "exec_count")
        for name, values in requests.items()
    }


def test_variables_offer_what_the_rules_record(tmp_path: Path) -> None:
    offers = {}
    for name, query in choices().items():
        metric, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(", ")
        assert label == name
        offers[f"count by ({label}) ({asked(metric)})"] = {
            "namespace": {'{namespace="prod"}': 2.0},
            "release": {'{release="demo"}': 2.0},
            "pipeline": {'{pipeline="digits"}': 1.0, '{pipeline="photos"}': 1.0},
        }[name]
    run_rules(groups_of(BOTH), {"up": [1, 1, 1]}, tmp_path, queries={2: offers})


def test_the_chart_ships_them_as_they_are() -> None:
    values = values_of(DIGITS, metrics={"dashboards": {"enabled": True, "labels": {"grafana_dashboard": "yes"}}})
    [shipped] = [m for m in manifests(values, "ConfigMap") if m["metadata"]["name"].endswith("-dashboards")]
    assert shipped["metadata"]["labels"]["grafana_dashboard"] == "yes"
    assert {name: text.strip() for name, text in shipped["data"].items()} == {
        file.name: file.read_text().strip() for file in FILES
    }


def test_dashboards_without_rules_are_refused() -> None:
    said = refusal({"pipelines": [DIGITS], "metrics": {"dashboards": {"enabled": True}}})
    assert "metrics.dashboards draws what the rules record, and they are off" in said
