"""The benchmark of the load generator: its servers answer, its search searches, its page says what the JSON does."""

from __future__ import annotations

from pathlib import Path

import pytest
from load_generator_systems import memory, ours
from load_generator_systems.ours import Seen, Way, highest, requests, run
from load_generator_systems.processes import locust, responders, wrk
from load_generator_systems.report import OPEN, draw, page, summary_of


@pytest.mark.parametrize("client", OPEN)
def test_every_client_is_answered(tmp_path: Path, client: str) -> None:
    with responders(client.partition("-")[0], 2) as addresses:
        seen = run(Way(client, tuple(addresses), 0.5, tmp_path), 100, 1)
    assert seen.not_ok == 0
    assert 0 < seen.lag_p50_us <= seen.lag_p99_us


def test_closed_loops_are_answered(tmp_path: Path) -> None:
    body = tmp_path / "body.bin"
    with responders("http", 1) as addresses:
        body.write_bytes(requests().http(addresses[0], "model")[0].partition(b"\r\n\r\n")[2])
        assert wrk(addresses, body, 1) > 0
        assert locust(addresses, body, 2, "Fast") > 0


@pytest.mark.parametrize("most", [180.0, 1700.0, 23_000.0])
def test_the_search_ends_close_below_what_is_valid(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, most: float
) -> None:
    def answered(_: Way, rate_rps: float, seed: int) -> Seen:
        return Seen(rate_rps, 1.0, rate_rps <= most and seed % 2 == 0, 1.0, 1.0, 0.1, 1.0, 0)

    monkeypatch.setattr(ours, "run", answered)
    found, seen = highest(Way("http-raw", ("x",), 1.0, tmp_path), 1)  # the first attempt always fails
    assert most / 1.06 <= found <= most
    assert len(seen) < 60


def test_nothing_valid_is_nought(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ours, "run", lambda _, rate, __: Seen(rate, 1.0, False, 1.0, 1.0, 0.1, 1.0, 0))
    assert highest(Way("http-raw", ("x",), 1.0, tmp_path), 1)[0] == 0


def test_samples_and_the_page(tmp_path: Path) -> None:
    with responders("http", 1) as [address]:
        told = memory.measure(5000, tmp_path, address)
    assert told["samples"] == 5000
    assert told["file_bytes"] >= 5000 * 24
    assert told["ready_bytes"] > 1 << 20
    runs = [{"system": "http-raw", "processes": 1, "rate_rps": rate} for rate in (1000.0, 3000.0, 2000.0)] + [
        {"system": "wrk", "processes": 2, "rate_rps": 50_000.0}
    ]
    lags = [{"client": "http-raw", "rate_rps": 1000, "lag_p50_us": 20, "lag_p99_us": p99, "busiest_core": 0.1}
            for p99 in (80, 90, 9000)]  # fmt: skip
    result = {"cores": 2, "seconds": 3.0, "rounds": 3, "summary": summary_of(runs), "lags": lags, "memory": [told]}
    text = page(result)
    assert "| raw HTTP | open | 2,000 (1,000 to 3,000) |  |" in text
    assert "| wrk | closed |  | 50,000 (50,000 to 50,000) |" in text
    assert "| raw HTTP | 20 / 90 (10%) |" in text
    assert "| 5,000 |" in text
    draw(result, tmp_path / "chart.svg")
    assert (tmp_path / "chart.svg").read_text().count("<path") > 50
