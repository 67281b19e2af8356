"""What passes in a sweep does so by the rules of `load run`: the rate, the start of a turn, and its errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated_bench import SimulatedBench, swept, wanted_of
from simulated_turn import write_turn

from loadtest.results.run import Objective, WarmUp
from loadtest.run.asked import Promise
from loadtest.samples.file import SampleWriter, read_samples
from loadtest.samples.record import Outcome
from loadtest.sweep.bench import Asked, Seen, read_seen
from loadtest.sweep.points import judgement_of
from loadtest.sweep.search import CONFIRM
from loadtest.sweep.setting import DELAY, Setting
from loadtest.sweep.sure import Sure

RATE, SETTLE_S, SECONDS = 300.0, 1.0, 60.0
N = int(RATE * (SETTLE_S + SECONDS))
PROMISE, SURE = Promise(20.0, 300.0), Sure(0.99)
DUE_US = np.arange(N) * 1e6 / RATE


def turn(
    folder: Path, *, why: str = CONFIRM, slow: Any = (), failed: Any = (), warm: int = 0, restless: str = ""
) -> Seen:
    """One whose requests take 1 ms each, those in `slow` 100 ms; `warm` requests are its warm-up."""
    latency_us = np.full(N, 1000.0)
    latency_us[list(slow)] = 100_000
    run = write_turn(folder, DUE_US, latency_us, RATE, batch_sizes={1: N})
    start = WarmUp(requests=warm, seconds=0, found_by=restless or "told", too_long=bool(restless))
    (folder / "run.json").write_text(run.model_copy(update={"warm_up": start}).model_dump_json())
    _, samples = read_samples(folder / "samples.bin")
    changed = np.array(samples)
    changed["outcome"][list(failed)] = Outcome.REFUSED
    with SampleWriter(folder / "samples.bin", {}) as writer:
        writer.append(changed)
    asked = Asked(1, 1, 0, 1, 1, Setting.of({DELAY: 0}), RATE, why, 1, "")
    return read_seen(asked, folder, SETTLE_S)


@pytest.fixture(params=[CONFIRM, "the first settings"])
def why(request: pytest.FixtureRequest) -> str:
    """Whoever shows it: a turn of its own, or those that competed."""
    found: str = request.param
    return found


def verdict_of(seen: Seen, promise: Promise = PROMISE) -> tuple[str, str]:
    found = judgement_of([seen], promise, SURE)
    return found.verdict, found.why


def test_what_is_good_passes(tmp_path: Path, why: str) -> None:
    assert verdict_of(turn(tmp_path / "turn", why=why))[0] == "pass"


def test_the_promised_rate_has_to_be_sent(tmp_path: Path, why: str) -> None:
    verdict, said = verdict_of(turn(tmp_path / "turn", why=why), Promise(20.0, 1500.0))
    assert verdict == "undecided"
    assert "the 1500 requests/s that it promises were not sent, only 300" in said


def test_errors_count_from_the_first_request_on(tmp_path: Path, why: str) -> None:
    verdict, said = verdict_of(turn(tmp_path / "turn", why=why, failed=range(0, 270, 3)))
    assert verdict != "pass"
    assert "90 requests failed" in said


def test_what_is_let_go_of_the_start_hides_nothing(tmp_path: Path, why: str) -> None:
    verdict, said = verdict_of(turn(tmp_path / "turn", why=why, slow=range(900), warm=900))
    assert verdict == "undecided"
    assert "only without the warm-up: with it, 900 of 18,300 requests took longer" in said
    assert verdict_of(turn(tmp_path / "short", why=why, slow=range(100), warm=100))[0] == "pass"


def test_a_turn_that_did_not_settle_shows_nothing(tmp_path: Path, why: str) -> None:
    verdict, said = verdict_of(
        turn(tmp_path / "turn", why=why, warm=3660, restless="the run did not settle: so it was")
    )
    assert (verdict, said) == (
        "undecided",
        "Whether the p99 is under 20 ms is not known: the run did not settle: so it was.",
    )


def test_what_was_never_sent_counts_nowhere(tmp_path: Path) -> None:
    seen = turn(tmp_path / "turn")
    samples = np.array(read_samples(tmp_path / "turn" / "samples.bin")[1])
    samples["outcome"][[0, 5000]] = Outcome.UNSENT
    with SampleWriter(tmp_path / "turn" / "samples.bin", {}) as writer:
        writer.append(samples)
    again = read_seen(seen.asked, tmp_path / "turn", SETTLE_S)
    assert (len(again.before), len(again.samples)) == (299, len(seen.samples) - 1)


def test_a_rate_below_the_promised_one_is_said_before(tmp_path: Path) -> None:
    objective = Objective(p99_ms=20, throughput_rps=2000, max_error_rate=0.5)
    sweep = swept(tmp_path, [f"{DELAY}=0,2000"], SimulatedBench(), objective=objective, rate_rps=300.0, rounds=2)
    assert sweep.choice.settings is None
    assert {point.judgement.verdict for point in sweep.points} == {"undecided"}
    assert not any(one.confirms for point in sweep.points for one in point.replicates), "none of it could pass"
    assert sweep.warnings[0] == (
        "no setting can be shown to meet the objective: it promises 2000 requests/s, and 300 are sent; give no lower "
        "--rate, or the objective a lower throughput_rps"
    )
    assert not wanted_of([f"{DELAY}=0,2000"], objective=objective, rate_rps=2000.0).hopeless
