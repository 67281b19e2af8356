"""A sweep that was interrupted where it matters most: in the turn that shows whether its choice holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from simulated_bench import SimulatedBench, swept

from generator.problems import ProblemsError, UserError
from loadtest.results.run import Objective, Run
from loadtest.results.sweep import PLAN_FILE, Sweep, read_sweep
from loadtest.sweep.journal import CODE, RENDERED, Journal
from loadtest.sweep.search import CONFIRM
from loadtest.sweep.setting import DELAY

EASY = Objective(p99_ms=20, throughput_rps=300, max_error_rate=0.001)  # the toy's p99 is under 5 ms
OVER = [f"{DELAY}=1000,1001"]
SECONDS, ROUNDS, SETTLE_S = 6.0, 2, 0.2


@dataclass
class InterruptedInItsOwnTurn(SimulatedBench):
    """Ctrl-C comes in the turn that is to confirm a setting: that one is longer than all others."""

    def measure(
        self, rate_rps: float, seconds: float, seed: int, folder: Path, progress: Callable[[str], None]
    ) -> Run:
        if seconds > SECONDS + SETTLE_S:
            raise KeyboardInterrupt
        return super().measure(rate_rps, seconds, seed, folder, progress)


def sweep_in(folder: Path, bench: SimulatedBench, *, resume: bool = False) -> Sweep:
    return swept(folder, OVER, bench, resume=resume, objective=EASY, rate_rps=300.0, rounds=ROUNDS, seconds=SECONDS)


def test_an_interrupt_in_the_turn_that_confirms_costs_that_turn_alone(tmp_path: Path) -> None:
    whole = sweep_in(tmp_path / "whole", SimulatedBench())
    assert any(one.confirms for point in whole.points for one in point.replicates), "such a turn is needed here"

    with pytest.raises(KeyboardInterrupt):
        sweep_in(tmp_path / "cut", InterruptedInItsOwnTurn())
    half = read_sweep(tmp_path / "cut")
    assert not half.complete
    assert half.choice.settings is None, "nothing has shown yet that one of them passes"
    assert not any(one.confirms for point in half.points for one in point.replicates)
    kept = sum(len(point.replicates) for point in half.points)

    bench = SimulatedBench()
    rest = sweep_in(tmp_path / "cut", bench, resume=True)
    assert rest.complete
    assert len(bench.applied) == 1, "what was finished is not measured again"
    assert sum(len(point.replicates) for point in rest.points) == kept + 1
    assert rest.choice == whole.choice, "and it says the same as if nothing had come between, the reason too"
    assert "it was interrupted" not in rest.choice.why


def test_a_second_interrupt_in_the_same_turn_loses_nothing(tmp_path: Path) -> None:
    for again in (False, True, True):
        with pytest.raises(KeyboardInterrupt):
            sweep_in(tmp_path, InterruptedInItsOwnTurn(), resume=again)
    journal = Journal.resume(tmp_path, {"seed": 7, "over": OVER}, SETTLE_S)
    assert [planned.turns[0][2] for planned in journal.rounds].count(CONFIRM) == 1, "it was planned once"
    assert sweep_in(tmp_path, SimulatedBench(), resume=True).choice.settings is not None


def refusal(folder: Path, plan: dict[str, object]) -> str:
    with pytest.raises(ProblemsError) as raised:
        Journal.resume(folder, plan, SETTLE_S)
    [problem] = raised.value.problems
    assert problem.code == "TK887"
    assert "\n" not in problem.message
    assert len(problem.message) < 200
    return problem.message


PLAN = {"spec_sha256": "aa", "machine": {"cores": 2, "versions": {"numpy": "1.26.4", "tritonkit": "0.1.0"}}}


def test_what_differs_is_told_by_itself(tmp_path: Path) -> None:
    """Another version of anything that measures, or another spec: one sentence that names it, and not all beside."""
    Journal.begin(tmp_path, PLAN, SETTLE_S)
    newer = {**PLAN, "machine": {"cores": 2, "versions": {"numpy": "1.26.4", "tritonkit": "0.2.0"}}}
    assert refusal(tmp_path, newer) == (
        'the sweep in this folder had another `machine.versions.tritonkit`: "0.1.0", and not "0.2.0"'
    )
    other = {**PLAN, "spec_sha256": "bb"}
    assert refusal(tmp_path, other) == "the spec was changed since the sweep here began, or is another spec"
    fewer = {"spec_sha256": "aa", "machine": {"cores": 2, "versions": {"tritonkit": "0.1.0"}}}
    assert "`machine.versions.numpy`" in refusal(tmp_path, fewer)
    assert Journal.resume(tmp_path, PLAN, SETTLE_S).session == 1


FILES = {"m/1/model.onnx": "11", "m/config.pbtxt": "22", "m/1/tritonkit.json": "33"}


@pytest.mark.parametrize(
    ("changed", "code", "told"),
    [
        (["m/1/model.onnx"], "same", "`m/1/model.onnx` is not what was served when the sweep here began: the models, "
         "data or steps of the spec were changed"),
        (["m/config.pbtxt", "m/1/tritonkit.json"], "new", "`m/config.pbtxt` and 1 more are not what was served when "
         "the sweep here began: tritonkit was changed"),
        (["m/1/model.onnx", "m/config.pbtxt"], "new", "`m/1/model.onnx` and 1 more are not what was served when the "
         "sweep here began: tritonkit or the models, data or steps of the spec were changed"),
        ([], "new", ""),
    ],
)  # fmt: skip
def test_who_changed_what_is_served(changed: list[str], code: str, told: str, tmp_path: Path) -> None:
    """An update of tritonkit is no fault of the files; and alone it is in nobody's way."""
    before = {**PLAN, CODE: "same", RENDERED: FILES, "payloads_sha256": "cc"}
    Journal.begin(tmp_path, before, SETTLE_S)
    after = {**before, CODE: code, RENDERED: {**FILES, **dict.fromkeys(changed, "00")}}
    if told:
        assert refusal(tmp_path, after) == told
    else:
        assert Journal.resume(tmp_path, after, SETTLE_S).session == 1


def test_who_changed_what_is_asked(tmp_path: Path) -> None:
    before = {**PLAN, CODE: "same", "payloads_sha256": "cc"}
    Journal.begin(tmp_path, before, SETTLE_S)
    other = {**before, "payloads_sha256": "dd"}
    assert refusal(tmp_path, other) == "the data that the spec is asked with was changed since the sweep here began"
    assert refusal(tmp_path, {**other, CODE: "new"}) == (
        "tritonkit, or the data that the spec is asked with, was changed since the sweep here began"
    )


def test_an_update_is_told_before_what_follows_from_it(tmp_path: Path) -> None:
    Journal.begin(tmp_path, {RENDERED: FILES, **PLAN}, SETTLE_S)
    newer = {"cores": 2, "versions": {"numpy": "1.26.4", "tritonkit": "0.2.0"}}
    after = {RENDERED: dict.fromkeys(FILES, "00"), **PLAN, "machine": newer}
    assert "`machine.versions.tritonkit`" in refusal(tmp_path, after)


@pytest.mark.parametrize("found", [None, 1, 2, 99, "3"])
def test_a_folder_of_another_version_is_not_gone_on_with(found: object, tmp_path: Path) -> None:
    Journal.begin(tmp_path, PLAN, SETTLE_S)
    plan = json.loads((tmp_path / PLAN_FILE).read_text())
    del plan["format"]
    (tmp_path / PLAN_FILE).write_text(json.dumps(plan if found is None else {**plan, "format": found}))
    assert refusal(tmp_path, PLAN) == "the sweep in this folder was begun by another version of tritonkit"


def test_a_folder_in_which_nothing_was_measured_is_free(tmp_path: Path) -> None:
    """A sweep that was refused, or whose first turn failed, is nothing to go on with, and in nobody's way."""
    with pytest.raises(ProblemsError) as raised:
        swept(tmp_path, OVER, objective=EASY, rounds=ROUNDS, seconds=SECONDS, budget_s=1.0)
    assert [problem.code for problem in raised.value.problems] == ["TK888"]
    with pytest.raises(UserError):
        sweep_in(tmp_path, SimulatedBench(dies_at=1))
    assert list(tmp_path.iterdir()) == []
    assert sweep_in(tmp_path, SimulatedBench()).complete
