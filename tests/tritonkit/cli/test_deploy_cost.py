"""`tritonkit deploy cost`: a table, JSON, and why there is no cost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli_session import Session
from made_runs import make_run, make_sweep

from loadtest.results.run import IntervalRecord, Objective, Run
from loadtest.results.sweep import SWEEP_FILE

PRICE = ("--gpu-price-per-hour", "3.6")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Session:
    """A session beside some load tests."""
    monkeypatch.chdir(tmp_path)
    return Session(tmp_path, capsys)


def run(folder: str, rate: float, **changes: object) -> Run:
    made = make_run(Path("made") / folder, rate=rate, requests=5000, bound_ms=changes.pop("bound_ms", 8.0))  # type: ignore[arg-type]
    said = {"objective": Objective(p99_ms=8, throughput_rps=100), "achieved_rps": rate, **changes}
    return make_run(Path(folder), rate=rate, requests=5000, bound_ms=made.objective.p99_ms if made.objective else None,
                    changes=said)  # fmt: skip


def sweep(folder: str, first_rps: float, chosen_rps: float) -> None:
    """A search for the highest rate: of its first point, and of the setting that it chose."""
    made = make_sweep(Path(folder), find_max=True)
    passed = next(point for point in made.points if point.settings == made.choice.settings)
    points = []
    for number, point in enumerate(made.points):
        rate = first_rps if number == 0 else chosen_rps
        found = IntervalRecord(value=rate, low=rate, high=rate * 1.04)
        points.append(point.model_copy(update={"max_rate": found, "judgement": passed.judgement}))
    Path(folder, SWEEP_FILE).write_text(made.model_copy(update={"points": points}).model_dump_json())


def test_a_session(shop: Session) -> None:
    sweep("sweep", 800.0, 2000.0)
    shop.run("deploy", "cost", "--tuned", "sweep", "--baseline", "sweep", *PRICE)
    run("slow", 250.0)
    run("fast", 500.0)
    shop.run("deploy", "cost", "--tuned", "fast", "--baseline", "slow", *PRICE, "--replicas", "2")
    run("failing", 500.0, bound_ms=1.0)
    shop.run("deploy", "cost", "--tuned", "fast", "--baseline", "failing", *PRICE)
    shop.matches("deploy_cost")


def test_json(shop: Session) -> None:
    sweep("slow", 250.0, 300.0)
    run("fast", 500.0)
    ended = shop.quietly(
        "deploy", "cost", "--tuned", "fast", "--baseline", "slow", *PRICE, "--replicas", "2", "--json"
    )
    found = json.loads(ended.out)
    assert ended.status == 0
    assert found["tuned"]["per_million"]["value"] == pytest.approx(2.0)  # 0.001 a second over 500 a second
    assert found["baseline"]["per_million"]["value"] == pytest.approx(4.0)
    assert found["saving"]["value"] == pytest.approx(0.5)
    assert found["saving"]["confidence"] == 0
    assert found["deployed"] == {
        "pods": 2, "per_hour": pytest.approx(7.2), "rate_rps": 100.0, "per_million": pytest.approx(20.0),
    }  # fmt: skip


def test_at_most_is_the_cost_of_the_rate_that_is_known(shop: Session) -> None:
    """Nobody looked for the highest rate: what was answered is known to an interval, whose lower end is sure."""
    made = make_sweep(Path("sweep"))
    [chosen] = [point for point in made.points if point.settings == made.choice.settings]
    assert chosen.throughput_rps is not None
    assert chosen.throughput_rps.low < chosen.throughput_rps.value
    ended = shop.quietly("deploy", "cost", "--tuned", "sweep", *PRICE)
    most = 0.001 / chosen.throughput_rps.low * 1e6
    assert ended.status == 0
    assert re.search(rf"at most {most:.2f}$", ended.out, re.MULTILINE), ended.out
    data = json.loads(shop.quietly("deploy", "cost", "--tuned", "sweep", *PRICE, "--json").out)["tuned"]
    assert data["is_bound"]
    assert data["per_million"]["value"] == pytest.approx(most)
    assert "warning[TK428]: sweep: made" in ended.err
    assert "target `embedded`, which is on the CPU; the price is of a GPU" in ended.err


def test_without_a_pass_there_is_why_and_exit_1(shop: Session) -> None:
    run("failing", 500.0, bound_ms=1.0)
    ended = shop.quietly("deploy", "cost", "--tuned", "failing", *PRICE, "--json")
    found = json.loads(ended.out)
    assert ended.status == 1
    assert found["tuned"]["per_million"] is None
    assert "the verdict is fail" in found["tuned"]["why"]


@pytest.mark.parametrize(("arguments", "words"), [
    (("--tuned", "fast"), "--gpu-price-per-hour"),
    (("--tuned", "fast", "--gpu-price-per-hour", "0"), "is no price"),
    (("--tuned", "none", *PRICE), "is not there"),
    (("--tuned", "fast", "--baseline", "other", *PRICE), "different pipelines"),
    (("--tuned", "fast", "--baseline", "looser", *PRICE), "different objectives"),
    (("--tuned", "fast", *PRICE, "--replicas", "2", "--rate", "1001"), "2 pods carry 1,000 requests/s, not 1,001"),
    (("--tuned", "unpromised", *PRICE, "--replicas", "2"), "promises no throughput"),
    (("--tuned", "fast", *PRICE, "--rate", "100"), "how many there are"),
    (("--tuned", "fast", *PRICE, "--replicas", "2", "--rate", "nan"), "nan is no rate"),
    (("--tuned", "fast", *PRICE, "--replicas", "2", "--rate", "inf"), "inf is no rate"),
    (("--tuned", "fast", *PRICE, "--replicas", "2", "--rate", "5e-324"), "is no rate"),
    (("--tuned", "fast", *PRICE, "--replicas", "1" + "0" * 400), "--replicas"),
    (("--tuned", "fast", *PRICE, "--gpus", "1" + "0" * 400), "--gpus"),
    (("--tuned", "fast", "--gpu-price-per-hour", "1e308"), "is no price"),
    (("--tuned", "fast", "--gpu-price-per-hour", "5e-324"), "is no price"),
])  # fmt: skip
def test_mistakes(shop: Session, arguments: tuple[str, ...], words: str) -> None:
    run("fast", 500.0)
    run("other", 500.0, pipeline="photos")
    run("looser", 500.0, objective=Objective(p99_ms=9))
    run("unpromised", 500.0, objective=Objective(p99_ms=8))
    ended = shop.quietly("deploy", "cost", *arguments)
    assert ended.status == 1
    assert words in ended.err
    assert ended.out == ""
