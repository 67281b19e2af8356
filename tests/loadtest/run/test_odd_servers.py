"""Servers that say what Triton never says: the run is kept, and told as far as it is known."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from steady_server import steady

sys.path.insert(0, str(Path(__file__).parent))

from load_tools import Digits, quiet

from loadtest.results.run import Run, read_run
from loadtest.run import splits
from loadtest.run.measure import measure

CONFIG, STATS, ABOUT = "/v2/models/digits/config", "/v2/models/stats", "/v2"
NO_STATISTICS = "the server shows no statistics, so nothing is known of where time went"
HALF = chr(0xD800)  # of a character


def measured(folder: Path, **says: str) -> Run:
    """A short run against a server that answers so at CONFIG, STATS or ABOUT."""
    paths = {"config": CONFIG, "stats": STATS, "about": ABOUT}
    with steady(least_ms=1, spread_ms=1, says={paths[name]: text for name, text in says.items()}) as server:
        digits = Digits(server, 4)
        run = measure(digits.asked(duration_s=0.4), digits.serving, digits.payloads, folder, quiet)
    assert read_run(folder) == run
    assert run.outcomes == {"ok": run.requests}
    return run


def test_half_a_character_in_what_it_says(tmp_path: Path) -> None:
    config = json.dumps({"name": "digits", "parameters": {"a" + HALF: {"string_value": "b" + HALF}}})
    run = measured(tmp_path, config=config, about=json.dumps({"name": HALF, "version": "1"}))
    assert run.made.effective["digits"]["parameters"] == {"a?": {"string_value": "b?"}}
    assert run.made.server["name"] == "?"


def test_what_is_nested_too_deep_or_no_number(tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(400):
        deep = {"more": deep}
    run = measured(tmp_path, config=json.dumps(deep), about='{"name": "steady", "most": 1e999}')
    assert "digits" not in run.made.effective
    assert run.made.server["most"] is None


def entry(**changed: Any) -> str:
    return json.dumps({"model_stats": [{"name": "digits", "inference_stats": {}, **changed}]})


@pytest.mark.parametrize("stats", [
    entry(batch_stats=5), entry(name=["digits"]), entry(batch_stats=[{"batch_size": None}]), entry(inference_stats="x"),
    entry(inference_stats={"success": {"count": None}}), entry(inference_count=1e999), entry(inference_count=-1),
    entry(inference_count=1 << 70), entry(batch_stats=[{"batch_size": "x"}]), '{"model_stats": 5}', "no JSON",
])  # fmt: skip
def test_statistics_that_are_none_of_triton_s(stats: str, tmp_path: Path) -> None:
    run = measured(tmp_path, stats=stats)
    assert [warning for warning in run.validity.warnings if warning.startswith(NO_STATISTICS)]
    assert run.splits == []
    assert run.outside_us is None


def test_a_server_without_statistics_is_asked_for_its_configuration_all_the_same(tmp_path: Path) -> None:
    run = measured(tmp_path, stats="none")
    assert run.made.effective["digits"] == {"name": "digits", "max_batch_size": 1}
    assert not [warning for warning in run.validity.warnings if "shows no configuration of digits," in warning]


def test_what_was_asked_before_is_not_counted_as_the_run_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server counts an answer after it has given it, the last one of the payloads' too."""
    real, late = splits.read, list[int]()

    def read(address: str) -> dict[str, splits.Counted]:
        found = real(address)
        totals = found["digits"].totals
        if totals.requests and not late:
            late.append(totals.requests)
            found["digits"] = replace(found["digits"], totals=replace(totals, requests=totals.requests - 1))
        return found

    monkeypatch.setattr(splits, "read", read)
    run = measured(tmp_path)
    assert late == [4], "of so many payloads, it had counted all but one"
    assert [split.requests for split in run.splits] == [run.requests]
