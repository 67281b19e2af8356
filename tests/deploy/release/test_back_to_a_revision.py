"""A rollback to a revision without a number of pods: sent again from its own chart, or as Helm does it."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from deploy.release.back import roll_back
from deploy.release.cluster import Cluster
from deploy.release.overrides import CHART
from deploy.release.state import State
from deploy.tools.helm import Helm, HelmError, HelmUnreachableError, Rendered, Revision
from deploy.tools.kubectl import Context, Kubectl

VALUES = {"autoscaling": {"hpa": {"enabled": True}}, "restrictedApis": {"existingSecret": "kept"}}
PIPELINE = {"name": "digits", "objective": {"p99Ms": 20, "throughputRps": None, "maxErrorRate": 0.001},
            "models": ["digits"], "queueModels": ["digits"], "maxBatchSize": 8, "longestRequestSeconds": 1,
            "latencyBucketsMs": []}  # fmt: skip


def workload(**spec: Any) -> str:
    return yaml.safe_dump({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "d"}, "spec": spec})


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def chart_as_helm_keeps_it() -> dict[str, Any]:
    """The record's part of a chart, of the real one."""
    files = {str(path.relative_to(CHART)): path.read_bytes() for path in sorted(CHART.rglob("*")) if path.is_file()}
    named = [{"name": name, "data": encoded(data)} for name, data in files.items()]
    own = {"Chart.yaml", "values.yaml", "values.schema.json"}
    return {
        "metadata": yaml.safe_load(files["Chart.yaml"]), "values": yaml.safe_load(files["values.yaml"]), "lock": None,
        "schema": encoded(files["values.schema.json"]),
        "templates": [one for one in named if one["name"].startswith("templates/")],
        "files": [one for one in named if not one["name"].startswith("templates/") and one["name"] not in own],
    }  # fmt: skip


@dataclass
class Records:
    """A Helm that has two revisions, and a kubectl that has Helm's record of the first."""

    newest: str = workload(replicas=4)
    earlier: str = workload(selector={})
    record: Mapping[str, Any] | bytes | None = None
    would_send: str = workload(replicas=4)
    asked: list[str] = field(default_factory=list)
    charts: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    refused: str = ""  # dry_run or upgrade
    refusal: HelmError = field(default_factory=lambda: HelmError("admission webhook denied it"))
    was_sent: bool = False
    revisions: list[Revision] = field(default_factory=list)

    def history(self, _name: str) -> list[Revision]:
        return [*self.revisions, *([Revision(3, "failed", "", "", "")] if self.was_sent else [])]

    def manifest(self, _name: str, revision: int | None = None) -> str:
        return self.newest if revision is None else self.earlier

    def rollback(self, _name: str, revision: int) -> None:
        self.asked.append(f"rollback {revision}")

    def dry_run(self, name: str, chart: Path, values: str) -> Rendered:
        if self.refused == "dry_run":
            raise self.refusal
        self.charts.append(Helm.found().template(name, chart, values))
        return Rendered(self.would_send)

    def upgrade(self, _name: str, chart: Path, values: str, *, description: str, mark: str) -> None:
        assert (chart / "Chart.yaml").is_file()
        assert mark
        if self.refused == "upgrade":
            raise self.refusal
        self.asked.append(f"upgrade with {json.loads(values)}: {description}")

    def get(self, kinds: Sequence[str], name: str) -> list[dict[str, Any]]:
        assert (list(kinds), name) == (["secrets"], "sh.helm.release.v1.digits.v1")
        if self.record is None:
            return []
        data = self.record if isinstance(self.record, bytes) else gzip.compress(json.dumps(self.record).encode())
        return [{"kind": "Secret", "data": {"release": encoded(encoded(data).encode())}}]

    def back(self, status: str = "deployed") -> list[str]:
        cluster = Cluster(cast(Helm, self), cast(Kubectl, self), Context("test", "https://127.0.0.1:1"), "ml")
        history = tuple(Revision(n, one, "", "", "") for n, one in enumerate(("superseded", status), 1))
        self.revisions = list(history)
        roll_back(cluster, State("digits", history), 1, self.said.append)
        return self.asked


def test_a_revision_without_a_number_is_sent_again_from_its_own_chart() -> None:
    values = {**VALUES, "pipelines": [PIPELINE]}
    records = Records(record={"chart": chart_as_helm_keeps_it(), "config": values})
    assert records.back() == [f"upgrade with {values}: Rollback to 1"]
    assert records.said == []
    # What Helm keeps of the chart is all of it.
    assert records.charts == [Helm.found().template("digits", CHART, json.dumps(values))]


@pytest.mark.parametrize(
    ("newest", "earlier"),
    [
        (workload(replicas=4), workload(replicas=2)),
        (workload(selector={}), workload(selector={})),
        (workload(selector={}), workload(replicas=2)),
        (workload(replicas=4), "kind: Service\nmetadata: {name: d}\nspec: {}\n"),
    ],
)
def test_all_others_go_back_as_helm_does_it(newest: str, earlier: str) -> None:
    records = Records(newest, earlier)
    assert records.back() == ["rollback 1"]
    assert records.said == []


@pytest.mark.parametrize(
    "record",
    [None, b"no gzip", gzip.compress(b"{", mtime=0), gzip.compress(b"{}", mtime=0), {"chart": None}],
    ids=["nothing", "no gzip", "half", "empty", "no chart"],
)
def test_where_helm_keeps_no_chart_it_is_told_what_happens(record: Any) -> None:
    records = Records(record=record)
    assert records.back() == ["rollback 1"]
    assert "from one pod on" in records.said[0]


def test_over_what_was_killed_helm_takes_no_upgrade() -> None:
    records = Records(record={"chart": chart_as_helm_keeps_it(), "config": VALUES})
    assert records.back("pending-upgrade") == ["rollback 1"]
    assert "from one pod on" in records.said[0]


def test_a_chart_that_would_not_name_a_number_either_is_not_sent_again() -> None:
    values = {**VALUES, "pipelines": [PIPELINE]}
    records = Records(record={"chart": chart_as_helm_keeps_it(), "config": values}, would_send=workload(selector={}))
    assert records.back() == ["rollback 1"]


def refused(at: str, **more: Any) -> Records:
    values = {**VALUES, "pipelines": [PIPELINE]}
    return Records(record={"chart": chart_as_helm_keeps_it(), "config": values}, refused=at, **more)


@pytest.mark.parametrize("at", ["dry_run", "upgrade"])
def test_what_is_refused_before_it_is_sent_goes_back_as_helm_does_it(at: str) -> None:
    records = refused(at)
    assert records.back() == ["rollback 1"]
    assert records.said == [
        "the number of pods is the autoscaler's again, from one pod on: revision 1 could not be sent anew (admission "
        "webhook denied it)"
    ]


def test_what_was_sent_and_failed_is_told() -> None:
    records = refused("upgrade", was_sent=True)
    with pytest.raises(HelmError, match="admission webhook denied it"):
        records.back()
    assert records.asked == []


def test_a_silent_cluster_is_not_taken_for_a_refusal() -> None:
    records = refused("dry_run", refusal=HelmUnreachableError("connection refused"))
    with pytest.raises(HelmUnreachableError):
        records.back()
    assert records.asked == []


@pytest.mark.parametrize("name", ["../outside", "/outside", "templates/../../outside"])
def test_a_file_of_a_chart_stays_in_it(name: str) -> None:
    chart = chart_as_helm_keeps_it()
    chart["files"].append({"name": name, "data": ""})
    assert Records(record={"chart": chart, "config": VALUES}).back() == ["rollback 1"]


def test_a_chart_with_others_in_it_is_not_whole() -> None:
    chart = chart_as_helm_keeps_it()
    chart["metadata"]["dependencies"] = [{"name": "other"}]
    assert Records(record={"chart": chart, "config": VALUES}).back() == ["rollback 1"]
