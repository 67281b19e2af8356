"""`--over`: what it may say, and what is refused with a reason."""

from __future__ import annotations

import itertools

import pytest

from generator.problems import ProblemsError
from loadtest.sweep.axes import Scale, first_settings, read_axes
from loadtest.sweep.setting import DELAY, Setting


def test_without_any_it_is_the_delay() -> None:
    [axis] = read_axes([])
    assert (axis.name, axis.low, axis.high, axis.is_range) == (DELAY, 0, 10_000, True)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("instances=1,2,4", (1, 2, 4)),
        ("instances=1:4", (1, 2, 3, 4)),
        ("preferred=none,8,32/8/16", ((), (8,), (8, 16, 32))),
        ("max_batch_size=8, 16", (8, 16)),
        ("layout=fused,ensemble", ("fused", "ensemble")),
        ("max_queue_delay_us=0,500", (0, 500)),
    ],
)
def test_listed_values(text: str, values: tuple[object, ...]) -> None:
    [axis] = read_axes([text])
    assert axis.values == values
    assert not axis.is_range


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("delay=0:100", "TK880", "there is no `delay` to sweep over"),
        ("max_queue_delay=0:100", "TK880", "there is no `max_queue_delay`"),
        ("max_queue_delay_us", "TK881", "has no values"),
        ("max_queue_delay_us=", "TK881", "has no values"),
        ("max_queue_delay_us=5000:0", "TK881", "the range from 5000 to 0 is empty"),
        ("max_queue_delay_us=7:7", "TK881", "the range from 7 to 7 is one value"),
        ("max_queue_delay_us=0:", "TK881", "a value is missing in `0:`"),
        ("max_queue_delay_us=5,,6", "TK881", "a value is missing in `5,,6`"),
        ("max_queue_delay_us=0:5:10", "TK881", "is no range from one number to another"),
        ("max_queue_delay_us=a:b", "TK881", "`a` is no whole number"),
        ("max_queue_delay_us=1.5,2", "TK881", "`1.5` is no whole number"),
        ("max_queue_delay_us=nan:3", "TK881", "`nan` is no whole number"),
        ("max_queue_delay_us=-1:5", "TK882", "`-1` is negative"),
        ("max_queue_delay_us=0:99999999999999999999", "TK881", "is no whole number"),
        ("max_queue_delay_us=0:99999999999", "TK882", "is not from 0 to 60000000"),
        ("max_queue_delay_us=5,5", "TK881", "5 is listed twice"),
        ("instances=0,1", "TK882", "0 is not from 1 to 256"),
        ("preferred=1:8", "TK881", "`preferred` takes no range"),
        ("preferred=8/", "TK881", "a value is missing in `8/`"),
        ("preferred=8/x", "TK881", "`x` is no whole number"),
        ("layout=fast", "TK882", "there is no layout `fast`"),
    ],
)
def test_what_is_refused(text: str, code: str, said: str) -> None:
    with pytest.raises(ProblemsError) as raised:
        read_axes([text])
    [problem] = raised.value.problems
    assert problem.code == code
    assert said in problem.message
    assert problem.hint or code == "TK880"


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(ProblemsError) as raised:
        read_axes(["delay=1", "instances=0", "instances=1", "instances=2"])
    assert [problem.code for problem in raised.value.problems] == ["TK880", "TK882", "TK880"]


def test_too_many_combinations_are_refused() -> None:
    with pytest.raises(ProblemsError, match="66 combinations"):
        read_axes(["instances=1:11", "preferred=none,1,2,4,8,16"])


def test_a_range_begins_with_both_ends_and_little_in_between() -> None:
    settings = first_settings(read_axes([f"{DELAY}=0:10000"]))
    delays = [setting.delay_us or 0 for setting in settings]
    assert (delays[0], delays[-1], len(delays)) == (0, 10_000, 6)
    gaps = [b - a for a, b in itertools.pairwise(delays)]
    assert gaps == sorted(gaps), "closer where a delay is short"


def test_several_axes_are_combined() -> None:
    settings = first_settings(read_axes([f"{DELAY}=100:2000", "instances=1,2"]))
    assert len(settings) == 8
    assert len({setting.arm for setting in settings}) == 2
    assert settings[0].as_json() == {DELAY: 100, "instances": 1}
    assert Setting.of(settings[0].as_json()) == settings[0]


@pytest.mark.parametrize(("low", "high"), [(0, 10_000), (0, 3), (500, 700), (0, 60_000_000), (9_999, 10_000)])
def test_the_scale_goes_both_ways(low: int, high: int) -> None:
    scale = Scale(low, high)
    assert (scale.delay_us(0), scale.delay_us(1)) == (low, high)
    assert (scale.place(low), scale.place(high)) == (0, pytest.approx(1))
    delays = [scale.delay_us(place / 50) for place in range(51)]
    assert delays == sorted(delays)
    assert all(low <= delay <= high for delay in delays)
    for delay in delays:
        assert scale.delay_us(scale.place(delay)) == pytest.approx(delay, rel=0.011, abs=1)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({DELAY: 500}, "500 µs"),
        ({DELAY: 0, "preferred": []}, "0 µs, preferred none"),
        ({"instances": 2, "preferred": [8, 16]}, "instances 2, preferred 8/16"),
    ],
)
def test_a_setting_in_words(setting: dict[str, object], words: str) -> None:
    assert Setting.of(setting).words() == words
