"""What a sweep's page says of how it was sent, what it was served by, and how often that was started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_sweep

from loadtest.report.opening import open_all
from loadtest.report.page import report_of
from loadtest.report.view import View
from loadtest.results.run import Traffic

TRAFFIC = Traffic(
    drawn={"kind": "poisson"}, mix={"digits": 1.0}, protocol="grpc", client="raw", rate_rps=500.0, deadline_ms=250.0,
    payloads={"digits": 64}, payload_bytes={"digits": [3148]}, options={"payloads": {"digits": "its gate"}},
)  # fmt: skip


def view_of(folder: Path, changes: dict[str, Any], **made: Any) -> View:
    make_sweep(folder, over={"max_queue_delay_us": [0, 500, 1000]}, turns=2, changes=changes, **made)
    [view] = report_of(open_all([folder])).views
    return view


def facts_of(view: View) -> dict[str, dict[str, str]]:
    return {facts.title: dict(facts.pairs) for facts in view.facts}


def test_how_it_was_sent(tmp_path: Path) -> None:
    traffic = facts_of(view_of(tmp_path / "sweep", {"traffic": TRAFFIC}))["Traffic"]
    assert traffic["rate"] == "500 requests/s"
    assert traffic["arrivals: kind"] == "poisson"
    assert traffic["protocol"] == "grpc, client raw, driver direct"
    assert traffic["deadline"].startswith("250")
    assert traffic["payloads of digits"] == "64"
    assert traffic["bytes of digits"] == "3,148"
    assert traffic["payloads.digits"] == "its gate"


def test_how_late_requests_left_is_of_what_can_be_believed(tmp_path: Path) -> None:
    """The last setting's turns left late, and tell nothing; of a record that does not say how it was sent, too."""
    view = view_of(tmp_path / "sweep", {}, invalid=(2,))
    found = facts_of(view)
    assert "Traffic" not in found
    believed = [turn["validity"] for point in view.data["record"]["points"] for turn in point["replicates"]
                if turn["validity"]["valid"]]  # fmt: skip
    assert len(believed) == 4
    worst = max(one["lag_p99_us"] for one in believed)
    assert worst < 500
    assert found["Generator"]["the worst of"] == "4 turns"
    assert found["Generator"]["send lag"].startswith(f"99 % within {worst:,.0f}")
    assert found["Generator"]["waited for a connection"] == "12 requests in all"


def test_a_point_has_the_configuration_of_one_model(tmp_path: Path) -> None:
    view = view_of(tmp_path / "sweep", {})
    [(model, text)] = view.folded
    assert model == "digits_engine"
    assert json.loads(text)["platform"] == "onnxruntime_onnx"


@pytest.mark.parametrize(("starts", "shown"), [(1, "1"), (2, "2"), (None, "1")])
def test_starts_of_the_server(starts: int | None, shown: str, tmp_path: Path) -> None:
    view = view_of(tmp_path / "sweep", {} if starts is None else {"server_starts": starts})
    assert facts_of(view)["Sweep"]["starts of the server"] == shown


def test_an_older_record_of_several_starts_does_not_say_one(tmp_path: Path) -> None:
    made = make_sweep(tmp_path / "sweep", over={"max_queue_delay_us": [0, 500]}, turns=2)
    data = json.loads(made.model_dump_json())
    data["points"][0]["warnings"] = ["its turns are of 2 starts of the server"]
    (tmp_path / "sweep" / "sweep.json").write_text(json.dumps(data))
    [view] = report_of(open_all([tmp_path / "sweep"])).views
    assert facts_of(view)["Sweep"]["starts of the server"] == "2 or more"


def test_what_was_asked_for_and_what_was_sent(tmp_path: Path) -> None:
    """Arrivals are drawn: a turn has seldom as many as were asked for, and all turns of a round have the same."""
    view = view_of(tmp_path / "alike", {"seconds": 12.5})
    [figure] = [figure for figure in view.figures if figure.title == "Throughput"]
    assert figure.says.endswith(
        " Asked for were 500 a second at every point; as arrivals were drawn, about 480 were sent."
    )
    make_sweep(tmp_path / "differ", over={"max_queue_delay_us": [0, 500]}, turns=2, changes={"seconds": 12.5})
    file = tmp_path / "differ" / "sweep.json"
    record = json.loads(file.read_text())
    record["points"][1]["replicates"][1]["requests"] = 6600
    record["points"][1]["replicates"][0] |= {"requests": 60_000, "confirms": True}
    file.write_text(json.dumps(record))
    [figure] = [
        one for one in report_of(open_all([tmp_path / "differ"])).views[0].figures if one.title == "Throughput"
    ]
    assert figure.says.endswith("; as arrivals were drawn, about 480 to 528, by round, were sent.")
