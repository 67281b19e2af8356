"""Whole sweeps on the simulated batcher: found, dropped, interrupted, gone on with."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from simulated_bench import SimulatedBench, swept, wanted_of

from generator.problems import ProblemsError, UserError
from loadtest.results.run import IntervalRecord, Objective
from loadtest.results.sweep import Sweep, read_sweep
from loadtest.sweep.choice import choose
from loadtest.sweep.evidence import Standing, Standings
from loadtest.sweep.journal import Journal
from loadtest.sweep.setting import DELAY, Setting
from loadtest.sweep.sweep import Sweeping

RANGE = [f"{DELAY}=0:10000"]
LISTED = [f"{DELAY}=0,1000,5000"]


def delays(sweep: Sweep) -> list[int]:
    return [point.settings[DELAY] for point in sweep.points]


def test_the_dip_of_the_curve_is_found_without_a_grid(tmp_path: Path) -> None:
    sweep = swept(tmp_path, RANGE)
    assert sweep.complete
    assert sweep.choice.settings is not None
    assert 950 <= sweep.choice.settings[DELAY] <= 1150, "the toy's p99 has a narrow dip there"
    assert sum(len(point.replicates) for point in sweep.points) <= 41 * 3 * 0.2 + 1
    assert delays(sweep) == sorted(delays(sweep))
    near = [d for d in delays(sweep) if 500 <= d <= 1600]
    assert len(near) >= len(sweep.points) / 3, "most points are where it matters"
    assert read_sweep(tmp_path) == sweep
    assert not (tmp_path / "turns").exists(), "nobody asked to keep the samples"


def test_every_round_has_the_same_arrivals_and_a_new_order(tmp_path: Path) -> None:
    bench = SimulatedBench()
    # Equals cannot be told apart, and a single turn does not say that they are equal.
    sweep = swept(tmp_path, ["instances=30,40,50,60"], bench, rate_rps=500, rounds=4)
    by_round: dict[int, list[Setting]] = {}
    for setting, seed in bench.seeds:
        by_round.setdefault(seed, []).append(setting)
    assert [Counter(order) for order in by_round.values()][:2] == [Counter(by_round[7001])] * 2
    assert len({tuple(order) for order in by_round.values()}) > 1
    assert sweep.choice.settings is not None
    assert len(sweep.choice.tied) == 3
    assert "cannot be told apart" in sweep.choice.why


def test_what_is_surely_worse_is_measured_no_more(tmp_path: Path) -> None:
    sweep = swept(tmp_path, LISTED, rounds=5)
    turns = {point.settings[DELAY]: len(point.replicates) for point in sweep.points}
    assert turns[5000] == 1
    assert sweep.choice.settings == {DELAY: 1000}
    assert sweep.choice.written == "max_queue_delay_us: 1000\n"
    verdicts = {point.settings[DELAY]: point.judgement.verdict for point in sweep.points}
    assert verdicts[1000] == "pass"
    assert verdicts[5000] == "fail"


def test_points_say_what_their_turns_say_together(tmp_path: Path) -> None:
    sweep = swept(tmp_path, LISTED, keep_samples=True)
    point = next(point for point in sweep.points if point.settings == {DELAY: 1000})
    assert point.requests == sum(one.requests for one in point.replicates)
    assert point.p99_ms is not None
    assert point.p99_ms.low < point.p99_ms.value < point.p99_ms.high
    values = [one.p99_ms for one in point.replicates if one.p99_ms is not None]
    assert min(values) <= point.p99_ms.value <= max(values)
    [split] = point.splits
    assert point.mean_batch == pytest.approx(split.requests / split.executions)
    assert sum(size * count for size, count in split.batch_sizes.items()) == split.requests
    for one in point.replicates:
        assert one.folder is not None
        assert (tmp_path / one.folder / "samples.bin").is_file()
    settle = [one.requests for one in point.replicates]
    assert all(count < 2.2 * 2000 * 0.95 for count in settle), "the settle period is left out"
    assert sweep.traffic is not None
    assert (sweep.traffic.protocol, sweep.traffic.deadline_ms, sweep.traffic.payloads) == ("http", 1000, {"toy": 1})
    assert sweep.server_starts == 1


def test_no_setting_that_fails_is_chosen(tmp_path: Path) -> None:
    sweep = swept(tmp_path, LISTED, objective=Objective(p99_ms=2.5))
    assert sweep.choice.settings is None
    assert sweep.choice.written is None
    assert "No setting is shown to keep the p99 under 2.5 ms" in sweep.choice.why


def test_a_slow_round_does_not_decide(tmp_path: Path) -> None:
    """Rounds in which everything takes longer touch all settings alike."""
    slow = {2: 1.5, 4: 1.8}
    sweep = swept(tmp_path, [f"{DELAY}=0,1000,2000"], SimulatedBench(slower=slow), rounds=5)
    best = min(sweep.points, key=lambda point: min(r.p99_ms or 1e9 for r in point.replicates))
    assert best.settings == {DELAY: 1000}


def test_turns_that_cannot_be_believed_count_for_nothing_and_are_tried_again(tmp_path: Path) -> None:
    def late(setting: Setting, times: int) -> str | None:
        return "requests left late" if setting.delay_us == 1000 and times == 1 else None

    sweep = swept(tmp_path, LISTED, SimulatedBench(broken=late))
    assert sweep.choice.settings == {DELAY: 1000}
    point = next(point for point in sweep.points if point.settings == {DELAY: 1000})
    assert [one.validity.valid for one in point.replicates][:2] == [False, True]
    assert point.replicates[0].p99_ms is None
    assert point.requests == sum(one.requests for one in point.replicates[1:])
    [warning] = sweep.warnings
    assert "of 1000 µs count for nothing: requests left late" in warning


def test_where_nothing_can_be_believed_nothing_is_told(tmp_path: Path) -> None:
    sweep = swept(tmp_path, LISTED, SimulatedBench(broken=lambda setting, times: "the clock stood still"))
    assert sweep.choice.settings is None
    assert "No turn could be believed" in sweep.choice.why
    assert all(point.p99_ms is None and point.judgement.verdict == "invalid" for point in sweep.points)
    assert all(len(point.replicates) == 3 for point in sweep.points), "each had its chances"


def test_settings_that_need_another_start_are_marked(tmp_path: Path) -> None:
    bench = SimulatedBench()
    sweep = swept(tmp_path, [f"{DELAY}=0,1000", "layout=ensemble,fused"], bench, rounds=2)
    epochs = {point.settings["layout"]: set() for point in sweep.points}  # type: ignore[var-annotated]
    for point in sweep.points:
        epochs[point.settings["layout"]].add(point.server_epoch)
    assert epochs["ensemble"].isdisjoint(epochs["fused"])
    assert any("different starts" in warning for warning in sweep.warnings)
    changes = sum(a.get("layout") != b.get("layout") for a, b in zip(bench.applied, bench.applied[1:], strict=False))
    assert bench.starts == changes + 1, "what shares a start is measured on it"


def test_a_sweep_whose_server_died_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = swept(tmp_path / "whole", RANGE)
    with pytest.raises(UserError, match="signal 9"):
        swept(tmp_path / "cut", RANGE, SimulatedBench(dies_at=9))
    half = read_sweep(tmp_path / "cut")
    assert not half.complete
    assert sum(len(point.replicates) for point in half.points) == 8
    assert half.points[0].replicates[0].folder is not None
    bench = SimulatedBench()
    rest = swept(tmp_path / "cut", RANGE, bench, resume=True)
    assert rest.complete
    turns = sum(len(point.replicates) for point in rest.points)
    assert len(bench.applied) == turns - 8, "what was finished is not measured again"
    assert any("started 2 times" in warning for warning in rest.warnings)
    assert rest.choice.settings is not None
    assert whole.choice.settings is not None
    assert abs(rest.choice.settings[DELAY] - whole.choice.settings[DELAY]) < 150


def test_turns_of_other_files_are_not_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="signal 9"):
        swept(tmp_path, RANGE, SimulatedBench(dies_at=4))
    before = (tmp_path / "turns.jsonl").read_text()
    with pytest.raises(ProblemsError, match="was measured with other files than are rendered now") as raised:
        swept(tmp_path, RANGE, SimulatedBench(files="another model"), resume=True)
    assert [problem.code for problem in raised.value.problems] == ["TK887"]
    assert (tmp_path / "turns.jsonl").read_text() == before


def test_a_point_of_several_starts_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="signal 9"):
        swept(tmp_path, [f"{DELAY}=1000"], SimulatedBench(dies_at=2), rounds=2, objective=Objective(p99_ms=3.9))
    [point] = read_sweep(tmp_path).points
    assert point.warnings == []
    rest = swept(tmp_path, [f"{DELAY}=1000"], resume=True, rounds=2, objective=Objective(p99_ms=3.9))
    [point] = rest.points
    assert len(point.replicates) > 1
    assert point.warnings == ["its turns are of 2 starts of the server"]
    assert "a point has turns of several starts: 1000 µs" in rest.warnings
    assert (rest.server_starts, point.server_epoch) == (2, 1), "of the sweep all, of the point its first"


def test_one_or_two_turns_have_no_interval_of_their_throughput(tmp_path: Path) -> None:
    sweep = swept(tmp_path, LISTED, rounds=5)
    for point in sweep.points:
        told = point.throughput_rps
        assert told is not None
        assert told.confidence == (0 if len(point.replicates) < 3 else 0.99)
        assert told.low <= told.value <= told.high
    assert {len(point.replicates) < 3 for point in sweep.points} == {True, False}


def test_the_last_line_may_be_cut(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        swept(tmp_path, RANGE, SimulatedBench(dies_at=4))
    with (tmp_path / "turns.jsonl").open("a") as file:
        file.write('{"kind": "turn", "tu')
    wanted = wanted_of(RANGE)
    journal = Journal.resume(tmp_path, {"seed": 7, "over": RANGE}, wanted.settle_s)
    assert len(journal.seen) == 3
    assert Sweeping(wanted, SimulatedBench(), journal, lambda _: None).run().complete
    again = [json.loads(line) for line in (tmp_path / "turns.jsonl").read_text().splitlines()]
    numbers = [entry["turn"]["number"] for entry in again if entry["kind"] == "turn"]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 3


@pytest.mark.parametrize(
    ("prepare", "plan", "said"),
    [
        ("nothing", {"seed": 7}, "there is no sweep in this folder"),
        ("cut", {"seed": 8, "over": RANGE}, "had another `seed`: 7, and not 8"),
        ("complete", {"seed": 7, "over": LISTED}, "is complete"),
        ("damaged", {"seed": 7, "over": RANGE}, "cannot be read"),
    ],
)
def test_what_cannot_be_gone_on_with(tmp_path: Path, prepare: str, plan: dict[str, object], said: str) -> None:
    if prepare in {"cut", "damaged"}:
        with pytest.raises(UserError):
            swept(tmp_path, RANGE, SimulatedBench(dies_at=4))
    if prepare == "complete":
        swept(tmp_path, LISTED)
    if prepare == "damaged":
        (tmp_path / "turns" / "0002" / "samples.bin").write_bytes(b"nonsense")
    with pytest.raises(ProblemsError, match=said) as raised:
        Journal.resume(tmp_path, plan, 0.2)
    assert {problem.code for problem in raised.value.problems} == {"TK887"}


@pytest.mark.parametrize("plan", ["[]", '"x"', "3", "null", "{"])
def test_a_plan_that_is_none(tmp_path: Path, plan: str) -> None:
    (tmp_path / "plan.json").write_text(plan)
    with pytest.raises(ProblemsError) as raised:
        Journal.resume(tmp_path, {"seed": 7}, 0.2)
    assert {problem.code for problem in raised.value.problems} == {"TK887"}


@pytest.mark.parametrize(
    "line", ["[]", "3", '{"kind": "round", "number": 1, "turns": [["a", 1, "x"]]}', '{"kind": "turn"}']
)
def test_a_turn_that_is_none(tmp_path: Path, line: str) -> None:
    with pytest.raises(UserError):
        swept(tmp_path, RANGE, SimulatedBench(dies_at=4))
    with (tmp_path / "turns.jsonl").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ProblemsError, match="cannot be read") as raised:
        Journal.resume(tmp_path, {"seed": 7, "over": RANGE}, 0.2)
    assert {problem.code for problem in raised.value.problems} == {"TK887"}


def test_a_folder_with_a_sweep_is_not_taken(tmp_path: Path) -> None:
    swept(tmp_path, LISTED)
    with pytest.raises(ProblemsError, match="a sweep is in this folder already"):
        swept(tmp_path, LISTED)


def test_a_budget_that_is_too_small_for_the_first_round_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProblemsError, match="the budget is enough for 2") as raised:
        swept(tmp_path, RANGE, budget_s=2 * (2.0 + 0.2 + 1.5) + 0.5)
    assert [problem.code for problem in raised.value.problems] == ["TK888"]


@pytest.mark.parametrize(("other_ms", "said"), [
    (4.5, "0 µs has the best p99 of 4 ms (3.9 to 4.1)"),
    (3.5, "0 µs has the best p99, compared round by round (4 ms (3.9 to 4.1) in all of its turns)"),
])  # fmt: skip
def test_a_figure_that_is_not_the_lowest_is_not_called_so(tmp_path: Path, other_ms: float, said: str) -> None:
    """What is chosen was best in the rounds that it shares with others; all of its turns together may look worse."""
    points = {
        Setting(((DELAY, point.settings[DELAY]),)): point.model_copy(
            update={
                "p99_ms": IntervalRecord(value=value, low=value - 0.1, high=value + 0.1, confidence=0.99),
                "judgement": point.judgement.model_copy(update={"verdict": "pass"}),
            }
        )
        for point, value in zip(swept(tmp_path, LISTED).points, (4.0, other_ms, 9.0), strict=True)
    }
    standings = Standings(tuple(Standing(one, 3, 8.0, 0.1, 1.0, 0.9, 1.1) for one in points), 0.99)
    assert choose(points, standings, 20.0, "the budget is spent", lambda _: "").why.startswith(f"{said}; 2 others")
