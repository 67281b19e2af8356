"""What the title of a run says of it: how long load was sent, and not how long all of it took."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_run

from loadtest.report.markdown import markdown_of
from loadtest.report.opening import open_all
from loadtest.report.page import report_of
from loadtest.samples.file import read_samples


def with_record(folder: Path, drawn: dict[str, Any], options: dict[str, Any], **changes: Any) -> Path:
    """A run of 500 requests a second and 4 s that took 14.2 s with the start of its server."""
    make_run(folder, requests=2000)
    record = json.loads((folder / "run.json").read_text()) | {"wall_s": 14.2} | changes
    record["traffic"]["drawn"] |= drawn
    record["traffic"]["options"] |= options
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def test_it_is_the_duration_that_was_asked_for(tmp_path: Path) -> None:
    report = report_of(open_all([with_record(tmp_path / "run", {"duration_s": 4.0}, {"segments": 1})]))
    assert (
        report.views[0].title.replace("\N{NO-BREAK SPACE}", " ")
        == "digits · 500 requests/s · poisson · 4.00 s · http"
    )
    assert "14.2" not in markdown_of(report)


@pytest.mark.parametrize(("drawn", "options", "changes"), [
    ({"duration_s": None}, {}, {}),
    ({"duration_s": 2.0}, {"segments": 2}, {}),
    ({"duration_s": 30.0}, {"segments": 1}, {"stopped": "interrupted"}),
    ({"duration_s": "long"}, {}, {}),
])  # fmt: skip
def test_without_one_it_is_until_the_last_request(
    drawn: dict[str, Any], options: dict[str, Any], changes: dict[str, Any], tmp_path: Path
) -> None:
    """Of a trace, of a run that went on, and of one that was stopped."""
    folder = with_record(tmp_path / "run", drawn, options, **changes)
    last_s = read_samples(folder / "samples.bin")[1]["due_us"][-1] / 1e6
    [view] = report_of(open_all([folder])).views
    assert view.title.split(" · ")[3] == f"{last_s:.2f}\N{NO-BREAK SPACE}s"
