"""What a million inferences cost, with the intervals of what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.operations.cost import cost_of, deployed, problems_of, saving
from deploy.operations.measured import Interval, Load, Verdict, why_not
from generator.problems import Severity

LOAD = Load("digits", 1000, Interval.exactly(1000), "pass", "p99 is 8 ms.", "runs/1")


def found(value: float, low: float, high: float, confidence: float = 0.99) -> Load:
    return replace(LOAD, capacity_rps=Interval(value, low, high, confidence))


def test_a_price_over_a_throughput() -> None:
    cost = cost_of(LOAD, 3.6)
    # 3.6 an hour are 0.001 a second, which buys 1,000 inferences.
    assert cost.per_million == Interval.exactly(pytest.approx(1.0))
    assert cost.is_bound  # nobody looked for a higher rate


def test_an_inference_is_an_item_and_a_pod_may_have_several_gpus() -> None:
    per_million = cost_of(replace(LOAD, items=8.0), 3.6, gpus=4).per_million
    assert per_million is not None
    assert per_million.value == pytest.approx(0.5)


def test_the_interval_turns_round() -> None:
    cost = cost_of(found(1000, 900, 1200), 3.6)
    assert cost.per_million is not None
    assert cost.per_million.low == pytest.approx(1000 / 1200)
    assert cost.per_million.high == pytest.approx(1000 / 900)
    assert cost.per_million.confidence == 0.99
    assert not cost.is_bound


def test_at_most_is_at_the_rate_that_is_known_to_be_carried() -> None:
    asked = replace(LOAD, throughput_rps=Interval(1000, 900, 1200, 0.99))
    cost = cost_of(asked, 3.6)
    most = pytest.approx(1000 / 900)
    assert cost.is_bound
    assert cost.per_million == Interval(most, most, most, 0.99)
    saved = saving(cost, cost_of(found(500, 450, 550), 3.6))
    assert saved is not None
    assert saved.low == pytest.approx(1 - 550 / 900)


def test_a_cpu_has_no_price_of_a_gpu() -> None:
    on_cpu = replace(LOAD, target="embedded")
    [told] = problems_of([on_cpu, on_cpu])
    assert (told.code, told.place.file, told.severity) == ("TK428", "runs/1", Severity.WARNING)
    assert "on the CPU; the price is of a GPU" in told.message
    assert list(problems_of([LOAD, replace(LOAD, target="production")])) == []


def test_two_targets_are_told() -> None:
    before = replace(LOAD, target="l4", source="runs/0")
    [told] = problems_of([replace(LOAD, target="h200"), before])
    assert told.code == "TK428"
    assert "runs/1 on `h200` and runs/0 on `l4`" in told.message


@pytest.mark.parametrize("verdict", ["fail", "undecided", "invalid"])
def test_without_a_pass_there_is_no_cost_but_why(verdict: Verdict) -> None:
    cost = cost_of(replace(LOAD, verdict=verdict, why="p99 is 31 ms."), 3.6)
    assert cost.per_million is None
    assert cost.inferences_per_s is None
    assert f"the verdict is {verdict}" in cost.why
    assert "p99 is 31 ms." in cost.why
    assert saving(cost, cost_of(LOAD, 3.6)) is None
    assert saving(cost_of(LOAD, 3.6), cost) is None


def test_a_throughput_that_may_be_nothing_has_no_cost() -> None:
    assert cost_of(found(5, 0, 20), 3.6).per_million is None


def test_the_saving_is_from_the_ends_of_both() -> None:
    saved = saving(cost_of(found(2000, 1800, 2200), 4), cost_of(found(1000, 900, 1100), 4))
    assert saved is not None
    assert saved.value == pytest.approx(0.5)
    assert saved.low == pytest.approx(1 - 1100 / 1800)  # the tuned one at its worst, the baseline at its best
    assert saved.high == pytest.approx(1 - 900 / 2200)
    assert saved.confidence == pytest.approx(0.98)


def test_a_tuned_rate_that_was_only_asked_for_saves_at_least() -> None:
    saved = saving(
        cost_of(replace(LOAD, throughput_rps=Interval.exactly(2000)), 4), cost_of(found(1000, 900, 1100), 4)
    )
    assert saved is not None
    assert not saved.is_known
    assert saved.value == pytest.approx(0.5)


def test_a_baseline_that_was_only_asked_for_may_carry_as_much() -> None:
    assert saving(cost_of(found(2000, 1800, 2200), 4), cost_of(LOAD, 4)) is None
    # Nor is there an upper end where the senders were what ended the search.
    unsure = replace(LOAD, capacity_rps=Interval.exactly(1000))
    assert cost_of(unsure, 4).is_bound
    assert saving(cost_of(found(2000, 1800, 2200), 4), cost_of(unsure, 4)) is None


def test_pods_are_paid_for_at_any_load() -> None:
    running = deployed(LOAD, pods=3, rate_rps=500, price_per_hour=3.6)
    assert running.per_hour == pytest.approx(10.8)
    assert running.per_million == pytest.approx(6.0)
    with pytest.raises(ValueError, match="carries nothing"):
        deployed(LOAD, pods=3, rate_rps=0, price_per_hour=3.6)


rates = st.floats(0.5, 1e6)


@given(value=rates, below=st.floats(0.01, 1), above=st.floats(1, 100), price=st.floats(0.01, 1e4))
def test_the_cost_lies_in_its_interval(value: float, below: float, above: float, price: float) -> None:
    per_million = cost_of(found(value, value * below, value * above), price).per_million
    assert per_million is not None
    assert 0 < per_million.low <= per_million.value <= per_million.high
    # Twice the price is twice the cost, and what is paid for what is answered is the price again.
    assert per_million.value / 1e6 * value * 3600 == pytest.approx(price)


@given(a=rates, b=rates, price=st.floats(0.01, 1e4))
def test_what_carries_more_saves(a: float, b: float, price: float) -> None:
    saved = saving(cost_of(found(a, a * 0.9, a * 1.1), price), cost_of(found(b, b * 0.9, b * 1.1), price))
    assert saved is not None
    assert saved.low <= saved.value <= saved.high < 1
    assert (saved.value > 0) == (a > b) or a == pytest.approx(b)


def test_why_nothing_passes() -> None:
    assert why_not([]) == "nothing was measured"
    failing = replace(LOAD, verdict="fail", why="p99 is 31 ms.")
    unsure = replace(LOAD, verdict="undecided", why="p99 may be 19 or 21 ms.", rate_rps=500)
    assert why_not([failing, unsure]) == "at 500 requests/s the verdict is undecided: p99 may be 19 or 21 ms"
